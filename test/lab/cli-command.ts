import { LabUnavailable } from "./programs.ts";
import type { FullLabSettings } from "./state.ts";

/** What `scripts/lab help` prints. */
export const USAGE = `scripts/lab VERB [ARGUMENTS] [--name X]      X is 'lab' when left out

  up [--nodes N]              start a lab of N nodes (3) and wait until they are Ready
     --full                   with kubelets and containers of their own, and a control-plane node
     --kind                   on kind's nodes, where a Docker engine runs
     --family ipv4|ipv6       whose addresses come first in such a lab (ipv4)
     --proxy-mode iptables|nftables   how kube-proxy works there (iptables)
  down                        end it and remove all of it
  status                      every lab: what runs and what has ended
  kubectl ARGS                kubectl, as the lab's administrator
  exec HOST [CMD...]          run a command (a shell) on client, control, backend, nodeN,
                              nodeN-pods or switch
  herald start|stop           apply Herald's definitions and workloads; delete the workloads.
                              In a full lab and on kind: install Herald's image and chart; uninstall it
  poweroff NODE..             cut the cable, then the power: no goodbye leaves the node
  crash NODE..                kill -9 the speaker; it is started again as Kubernetes does
  stop NODE..                 end the speaker cleanly; it stays ended until restore
  pause NODE.. [--ms N]       freeze the speaker for N milliseconds (300)
  dropapi NODE..              drop what passes between the node and the API server
  loss PERCENT                lose that share of the frames on every link; 0 ends it
  partition NODE.. [--from H,H]  cut the nodes off from hosts; from every other host by default
  restore NODE..              undo all of these for a node
  apiserver stop|start        stop the API server, and start it again
  logs [WHAT]                 list the logs; print those whose name begins with WHAT

For kubectl and exec, --name comes before the arguments that are theirs:
  scripts/lab kubectl --name x get pods`;

const VERBS = {
  help: "none",
  up: "none",
  down: "none",
  status: "none",
  kubectl: "rest",
  exec: "rest",
  herald: "start|stop",
  apiserver: "stop|start",
  poweroff: "some",
  crash: "some",
  stop: "some",
  pause: "some",
  dropapi: "some",
  loss: "some",
  partition: "some",
  restore: "some",
  logs: "any",
} as const;

/** A verb of the command line. */
export type LabVerb = keyof typeof VERBS;

/** A command line that makes sense. */
export interface LabCommand {
  readonly verb: LabVerb;
  readonly args: readonly string[];
  readonly name: string;
  readonly nodes: number;
  readonly ms: number;
  readonly from?: readonly string[];
  /** Set when `up` makes a lab with real kubelets; a light one when missing. */
  readonly full?: FullLabSettings & { readonly driver: "namespaces" | "kind" };
}

/**
 * Reads the command line. Options of the lab come before the first argument of kubectl and exec,
 * and anywhere in the other commands.
 * @throws LabUnavailable with a sentence that says what is wrong.
 */
export function parseCommand(argv: readonly string[]): LabCommand {
  const options = new Map<string, string>();
  const words: string[] = [];
  const rest = [...argv];
  while (rest.length > 0) {
    const word = rest.shift() ?? "";
    if (["-h", "--help"].includes(word) && words.length === 0) return { verb: "help", args: [], name: "lab", nodes: 3, ms: 300 };
    if (word === "--full" || word === "--kind") {
      options.set(word.slice(2), "");
      continue;
    }
    const [, option, inline] = /^--(name|nodes|from|ms|family|proxy-mode)(?:=(.*))?$/.exec(word) ?? [];
    if (option !== undefined) {
      const value = inline ?? rest.shift();
      if (value === undefined) throw new LabUnavailable(`--${option} needs a value.`);
      options.set(option, value);
      continue;
    }
    words.push(word);
    // What follows belongs to the command that is run, its options too.
    if (words.length > 1 && VERBS[words[0] as LabVerb] === "rest") words.push(...rest.splice(0));
  }
  const [verb = "help", ...args] = words;
  checkWords(verb, args);
  const from = options.get("from")?.split(",");
  const full = fullSettings(verb, options);
  return { verb, args, name: options.get("name") ?? "lab", nodes: Number(options.get("nodes") ?? 3), ms: Number(options.get("ms") ?? 300), ...(from ? { from } : {}), ...(full ? { full } : {}) };
}

function fullSettings(verb: LabVerb, options: ReadonlyMap<string, string>): LabCommand["full"] {
  const given = ["full", "kind", "family", "proxy-mode"].filter((option) => options.has(option));
  if (given[0] === undefined) return undefined;
  if (verb !== "up") throw new LabUnavailable(`--${given[0]} is for 'up'.`);
  if (options.has("full") === options.has("kind")) throw new LabUnavailable(options.has("full") ? "A lab is '--full' or '--kind', not both." : `--${given[0]} is for a full lab: say '--full' too.`);
  const family = options.get("family") ?? "ipv4";
  const proxyMode = options.get("proxy-mode") ?? "iptables";
  if (family !== "ipv4" && family !== "ipv6") throw new LabUnavailable("--family is ipv4 or ipv6.");
  if (proxyMode !== "iptables" && proxyMode !== "nftables") throw new LabUnavailable("--proxy-mode is iptables or nftables.");
  return { family, proxyMode, driver: options.has("kind") ? "kind" : "namespaces" };
}

function checkWords(verb: string, args: readonly string[]): asserts verb is LabVerb {
  if (!Object.hasOwn(VERBS, verb)) throw new LabUnavailable(`There is no verb '${verb}'; 'scripts/lab help' lists them.`);
  const shape = VERBS[verb as LabVerb];
  const first = args[0];
  if (shape === "none" && first !== undefined) throw new LabUnavailable(`'${verb}' takes no '${first}'; 'scripts/lab help' says what it takes.`);
  if (shape === "some" && first === undefined) throw new LabUnavailable(`'${verb}' needs ${verb === "loss" ? "a number, such as 2" : "the name of a node, such as node1"}.`);
  if (verb === "loss" && (args.length !== 1 || !/^\d+(\.\d+)?$/.test(first ?? ""))) throw new LabUnavailable("'loss' takes one number, such as 2.");
  if (verb === "exec" && first === undefined) throw new LabUnavailable("'exec' needs the name of a host, such as client.");
  if (shape.includes("|") && (args.length !== 1 || !shape.split("|").includes(first ?? ""))) {
    throw new LabUnavailable(`'${verb}' takes one word of ${shape.replace("|", " and ")}.`);
  }
}
