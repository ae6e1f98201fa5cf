import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Lab } from "./lab.ts";
import { nsenterArgv } from "./processes.ts";
import { programPath } from "./programs.ts";
import { labFolder } from "./state.ts";

/**
 * Follows the addresses of the Services of the default namespace, so that a test can tell that one never changed, not
 * even for a moment. It follows one watch, which ends with the API server.
 */
export class AddressHistory {
  readonly #argv: readonly string[];
  #child: ChildProcess | undefined;
  #stopped = false;
  /** Addresses in the order in which a Service showed them; undefined while it showed none. */
  readonly #seen = new Map<string, (string | undefined)[]>();
  readonly #doubled: string[] = [];

  /** Starts to follow; the first thing seen is the state as it is. */
  constructor(lab: Lab) {
    const jsonpath = 'jsonpath={.type} {.object.metadata.name} {.object.status.loadBalancer.ingress[0].ip}{"\\n"}';
    const kubectl = [programPath("kubectl"), `--kubeconfig=${labFolder(lab.name).kubeconfig}`, "get", "services", "-n", "default", "--watch", "--output-watch-events", "-o", jsonpath];
    this.#argv = nsenterArgv(lab.namespace("control"), kubectl);
    this.#watch();
  }

  #watch(): void {
    const child = spawn("nsenter", this.#argv, { stdio: ["ignore", "pipe", "inherit"] });
    createInterface({ input: child.stdout }).on("line", (line) => this.#take(line));
    child.once("close", () => {
      // kubectl takes long enough to start that an API server that is away is not asked too often.
      if (!this.#stopped) this.#watch();
    });
    this.#child = child;
  }

  /** Number of Services seen so far. */
  get size(): number {
    return this.#seen.size;
  }

  /** Whether a Service of that name was seen, and not its end. */
  has(name: string): boolean {
    return this.#seen.has(name);
  }

  /** The address that the Service showed last. */
  latest(name: string): string | undefined {
    return this.#seen.get(name)?.at(-1);
  }

  /** A line for every address that a Service lost or changed, and for every one that two Services showed at once. */
  moves(): string[] {
    const moved = [...this.#seen].flatMap(([name, addresses]) => {
      const given = addresses.findIndex((address) => address !== undefined);
      return given >= 0 && given < addresses.length - 1 ? [`${name}: ${addresses.map((address) => address ?? "none").join(" -> ")}`] : [];
    });
    return [...moved, ...this.#doubled];
  }

  /** Ends the watch. */
  stop(): void {
    this.#stopped = true;
    this.#child?.kill("SIGKILL");
  }

  #take(line: string): void {
    const [type, name = "", text = ""] = line.split(" ");
    if (type === "DELETED") {
      this.#seen.delete(name);
      return;
    }
    const address = text === "" ? undefined : text;
    const before = this.#seen.get(name);
    if (before === undefined) this.#seen.set(name, [address]);
    else if (before.at(-1) !== address) before.push(address);
    if (address === undefined) return;
    const others = [...this.#seen].filter(([other, addresses]) => other !== name && addresses.at(-1) === address);
    for (const [other] of others) this.#doubled.push(`${name} and ${other} show ${address}`);
  }
}
