/** What the tests of leadership share: six Services whose pods outlive every node, and looking at who leads them. */
import assert from "node:assert/strict";
import { AnswerWatch, type AnswersSeen, longestContestMs, turnsOf } from "../answer-watch.ts";
import { eventually } from "../eventually.ts";
import { BACKEND_HOST } from "../hosts.ts";
import type { Lab } from "../lab.ts";
import { type Leadership, expectAnswersAsTold } from "../leaders.ts";
import { metricOf } from "../metrics.ts";
import { expectAnswerFrom } from "../observe.ts";
import { advertisement, pool } from "../resources.ts";
import { deployment, service } from "../walkthrough/manifests.ts";

/** Names of the Services. */
export const NAMES = ["one", "two", "three", "four", "five", "six"] as const;
/** Node that leads a Service, by the Service's name. */
export type Leaders = ReadonlyMap<string, Leadership>;

/** For what has to do with starting programs on a busy machine. */
export const BUDGET = { timeoutMs: 120_000 } as const;

/** Applies a pool, an advertisement and the Services, and waits until each has one node that answers. */
export async function setScene(lab: Lab): Promise<Leaders> {
  await lab.apply(`${pool("main", ["172.20.250.10-172.20.250.60"])}${advertisement("all")}---\n${deployment({ name: "shared", nodeName: "backend" })}`);
  await lab.apply(NAMES.map((name) => service({ name, backend: "shared" })).join("---\n"));
  await lab.waitForNode(BACKEND_HOST, "True");
  await expectMembers(lab);
  return expectAnswersAsTold(lab, NAMES);
}

/** Every node with a speaker: the host of the backends is one, though nothing may be announced from there. */
export function speakersOf(lab: Lab): string[] {
  return [...lab.nodes, BACKEND_HOST];
}

/** Waits until each of these nodes (every node when left out) knows all the others to be alive, and nobody else. */
export async function expectMembers(lab: Lab, nodes: readonly string[] = speakersOf(lab)): Promise<void> {
  for (const node of nodes) {
    await eventually(async () => assert.equal(await membersOf(lab, node, "alive"), nodes.length - 1), { ...BUDGET, what: `${node} knows ${nodes.length - 1} others` });
  }
}

/** How many others a node knows in this state. */
export async function membersOf(lab: Lab, node: string, state: "alive" | "suspect" | "dead" | "left"): Promise<number | undefined> {
  return metricOf(lab, { node, program: "speaker" }, "herald_members", { state });
}

/** Mends every node and waits until all is as it should be. */
export async function mend(lab: Lab): Promise<Leaders> {
  for (const node of lab.nodes) await lab.restore(node);
  for (const node of lab.nodes) await lab.waitForNode(node, "True");
  await expectMembers(lab);
  return expectAnswersAsTold(lab, NAMES);
}

/** The first Service, its address and its node. */
export function firstOf(leaders: Leaders): Leadership & { readonly name: string } {
  const first = leaders.get(NAMES[0]);
  assert.ok(first !== undefined);
  return { name: NAMES[0], ...first };
}

/** Nodes by Service: what may move. */
export function nodesOf(leaders: Leaders): Map<string, string> {
  return new Map([...leaders].map(([name, { node }]) => [name, node]));
}

/** Waits until the status of every Service that this node led names another one, and that one answers; the other Services are where they were. */
export async function expectMovedFrom(lab: Lab, before: Leaders, victim: string): Promise<Leaders> {
  const after = await eventually(async () => {
    const now = await expectAnswersAsTold(lab, NAMES);
    assert.ok(![...now.values()].some(({ node }) => node === victim), `${victim} still leads some`);
    return now;
  }, { ...BUDGET, what: `nobody is led by ${victim}` });
  for (const [name, { node }] of before) if (node !== victim) assert.equal(after.get(name)?.node, node, `${name} was not ${victim}'s and has no cause to move`);
  return after;
}

/** Asks for an address all the time, from when its leader was seen to answer. */
export async function watchAnswers(lab: Lab, { address, node }: Leadership): Promise<AnswerWatch> {
  const watch = await AnswerWatch.start(lab, address);
  await eventually(() => expectAnswerFrom(lab, address, node), { ...BUDGET, what: `${node} answers for ${address}` });
  return watch;
}

/** A move of an address. */
export interface Move {
  readonly what: string;
  readonly from: string;
  readonly to: string;
  /** Nobody may be silent for longer. What is left out only tells Herald's own detection from membership's suspicion, which takes more than five seconds. */
  readonly longestGapMs?: number;
}

/**
 * Two owners that can hear each other may both answer until they have: at once when the claim arrives, else with the next
 * heartbeat; after a split they must find each other first, for which the simulation proves a second (docs/leadership.md). 25 ms were measured, with 25 processes waiting for two cores.
 */
const CONTEST_LIMIT_MS = 1000;

/**
 * The address went from one node to the other, once. That another claimed it too, and gave way at once, is no move: which of two
 * equals hears the other's claim in time is a matter of milliseconds. How long nobody answered, and how long both did, is printed.
 */
export async function expectOneMove(lab: Lab, seen: AnswersSeen, { what, from, to, longestGapMs = 4000 }: Move): Promise<void> {
  const contest = longestContestMs(seen.begun, CONTEST_LIMIT_MS);
  console.log(`${what}: ${from} -> ${to}, without an answer for ${seen.longestGapMs.toFixed(0)} ms, two answers for ${contest.toFixed(0)} ms (asked every 100 ms)`);
  const who = await answerersOf(lab, seen);
  assert.deepEqual(turnsOf(seen.begun, CONTEST_LIMIT_MS), [await lab.nodeMac(from), await lab.nodeMac(to)], `${from} -> ${to}, but who answered: ${who}`);
  assert.ok(contest <= CONTEST_LIMIT_MS, `two answered for ${contest} ms: ${who}`);
  assert.ok(seen.longestGapMs < longestGapMs, `${seen.longestGapMs} ms without an answer: ${who}`);
}

/** Who answered, each with when it began, in milliseconds since the first answer. */
export async function answerersOf(lab: Lab, { begun }: AnswersSeen): Promise<string> {
  const nodes = new Map(await Promise.all(speakersOf(lab).map(async (node) => [await lab.nodeMac(node), node] as const)));
  return begun.map(({ mac, atMs }) => `${nodes.get(mac) ?? mac} at ${(atMs - (begun[0]?.atMs ?? 0)).toFixed(0)} ms`).join(", ");
}
