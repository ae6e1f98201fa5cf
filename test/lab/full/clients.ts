/** Services whose pods no node takes with it, and clients that use all of them all the time, whatever happens to nodes and programs. */
import assert from "node:assert/strict";
import { AnswerWatch, type AnswersSeen, turnsOf } from "../answer-watch.ts";
import { eventually } from "../eventually.ts";
import { BACKEND_HOST } from "../hosts.ts";
import { type Leadership, expectAnswersAsTold } from "../leaders.ts";
import { metricOf } from "../metrics.ts";
import { untilAnswerFrom } from "../observe.ts";
import { type Attempts, type Protocol, Prober } from "../prober.ts";
import { advertisement, pool } from "../resources.ts";
import { Heartbeats } from "../stalls.ts";
import { deployment, service } from "../walkthrough/manifests.ts";
import type { FullLab } from "./full-lab.ts";

/** The Services that are used. */
export const NAMES = ["one", "two", "three"] as const;

/** Who leads which Service, by its name. */
export type Leaders = ReadonlyMap<string, Leadership>;

/** For what has to do with starting pods on a busy machine. */
export const BUDGET = { timeoutMs: 180_000 } as const;

/** Ports of the Services. */
const PORTS = { tcpPort: 80, udpPort: 81 } as const;

/** Applies a pool, an advertisement and the Services, and waits until each has one node that answers and a pod behind it. */
export async function setScene(lab: FullLab): Promise<Leaders> {
  await lab.apply(`${pool("main", ["172.20.250.10-172.20.250.60"])}${advertisement("all")}---\n${deployment({ name: "shared", nodeName: BACKEND_HOST, udp: true })}`);
  await lab.apply(NAMES.map((name) => service({ name, backend: "shared", udp: true })).join("---\n"));
  await lab.kubectl(["rollout", "status", "deployment/shared", "--timeout=180s"], { timeoutMs: 185_000 });
  await expectMembers(lab);
  return expectAnswersAsTold(lab, NAMES);
}

/** Waits until the speaker of each of these nodes (every node when left out) knows all the others to be alive, and nobody else. */
export async function expectMembers(lab: FullLab, nodes: readonly string[] = lab.allNodes): Promise<void> {
  for (const node of nodes) {
    await eventually(async () => assert.equal(await metricOf(lab, { node, program: "speaker" }, "herald_members", { state: "alive" }), nodes.length - 1), { ...BUDGET, what: `${node} knows ${nodes.length - 1} others` });
  }
}

/** Nodes by Service: what may move. */
export function nodesOf(leaders: Leaders): Map<string, string> {
  return new Map([...leaders].map(([name, { node }]) => [name, node]));
}

/** The Service of that name. */
export function leadershipOf(leaders: Leaders, name: string): Leadership & { readonly name: string } {
  const found = leaders.get(name);
  assert.ok(found !== undefined, name);
  return { name, ...found };
}

/** What the client of one Service saw. */
export interface ServiceUse {
  readonly name: string;
  readonly attempts: Attempts;
  readonly answers: AnswersSeen;
  /** Nodes that answered in turn, without those that soon gave way to another one (in a planned move both answer for a moment): one for an address that did not move. */
  readonly turns: readonly string[];
}

/** How long two may answer until one has heard the other, as the simulation proves it (docs/leadership.md). */
const CONTEST_LIMIT_MS = 1000;

interface User {
  readonly name: string;
  readonly prober: Prober;
  readonly watch: AnswerWatch;
}

/** A client for each Service, which sends requests over UDP, opens connections over TCP, and asks by ARP who has its address. */
export class Clients {
  readonly #lab: FullLab;
  readonly #users: readonly User[];
  /** What the speakers said to each other meanwhile. */
  readonly heartbeats: Heartbeats;

  private constructor(lab: FullLab, users: readonly User[], heartbeats: Heartbeats) {
    this.#lab = lab;
    this.#users = users;
    this.heartbeats = heartbeats;
  }

  /** Returns when each has been answered for a second, by the Service's leader. */
  static async start(lab: FullLab, leaders: Leaders): Promise<Clients> {
    const heartbeats = await Heartbeats.start(lab);
    const users = await Promise.all([...leaders].map(async ([name, { address, node }]) => {
      const watch = await AnswerWatch.start(lab, address);
      await untilAnswerFrom(lab, address, node);
      return { name, prober: await Prober.start({ lab, address, ...PORTS }), watch };
    }));
    return new Clients(lab, users, heartbeats);
  }

  /** Waits for a second, from now on, in which all were answered. */
  async untilSteady(): Promise<void> {
    const since = Date.now();
    for (const { prober } of this.#users) await prober.untilSteady(since);
  }

  /** Ends them, once all were answered for a second, and prints what each saw. What the speakers said can still be asked for. @param what happened to them */
  async stop(what: string): Promise<ServiceUse[]> {
    await this.untilSteady();
    const nodes = new Map(await Promise.all(this.#lab.nodes.map(async (node) => [await this.#lab.nodeMac(node), node] as const)));
    const seen = await Promise.all(this.#users.map(async ({ name, prober, watch }) => {
      const [attempts, answers] = await Promise.all([prober.stop(), watch.stop()]);
      return { name, attempts, answers, turns: turnsOf(answers.begun, CONTEST_LIMIT_MS).map((mac) => nodes.get(mac) ?? mac) };
    }));
    for (const use of seen) console.log(`${what}: ${describeUse(use)}`);
    return seen;
  }
}

function describeUse({ name, attempts, answers, turns }: ServiceUse): string {
  const gap = (protocol: "udp" | "tcp"): string => `${Math.round(attempts.longestGapMs(protocol, 0))} ms`;
  return `${name} by ${turns.join(" -> ")}; lost ${attempts.failed("udp")} of ${attempts.count("udp")} UDP requests and ${attempts.failed("tcp")} of ${attempts.count("tcp")} new connections; `
    + `longest gap between answers: UDP ${gap("udp")}, TCP ${gap("tcp")}, ARP ${Math.round(answers.longestGapMs)} ms (asked every 100 ms); the client itself stood still for ${Math.round(attempts.longestStallMs(0))} ms at most`;
}

/**
 * New connections that may be lost, of all: on a busy machine kube-proxy's nodes lose one in some hundred also while nothing
 * moves and every question of ARP is answered within 10 ms (two of 561 were, while pods were replaced behind an address that stayed).
 */
const LOST_CONNECTIONS = 0.01;

/** No request over UDP was lost, and of new connections, where asked for, no more than are lost without Herald. */
export function expectNothingLost(seen: readonly ServiceUse[], protocols: readonly Protocol[] = ["udp"]): void {
  const lost = seen.flatMap((use) => protocols.flatMap((protocol) => (use.attempts.failed(protocol) > mayLose(use, protocol) ? [describeUse(use)] : [])));
  assert.deepEqual(lost, [], lost.join("\n"));
}

function mayLose({ attempts }: ServiceUse, protocol: Protocol): number {
  return protocol === "udp" ? 0 : Math.ceil(LOST_CONNECTIONS * attempts.count(protocol));
}
