/** Who leads which Service: as ServiceL2Status says and as the wire shows, and whether it stays so. */
import assert from "node:assert/strict";
import { eventually } from "./eventually.ts";
import { CLIENT, type Lab } from "./lab.ts";
import { WITHIN, answeringLeader, expectAddress, expectAnswerFrom, l2StatusesOf, leaderOf, untilAnswerFrom } from "./observe.ts";
import { pause } from "./poll.ts";
import { Heartbeats } from "./stalls.ts";

/** Where a Service is announced. */
export interface Leadership {
  readonly address: string;
  readonly node: string;
  /** Name of the ServiceL2Status. */
  readonly object: string;
}

/** Waits until every Service has its address and exactly one ServiceL2Status. */
export async function settledLeaders(lab: Lab, names: readonly string[]): Promise<Map<string, Leadership>> {
  const addresses = new Map<string, string>();
  for (const name of names) addresses.set(name, await expectAddress(lab, name));
  return eventually(async () => {
    const statuses = (await l2StatusesOf(lab)).filter(({ status }) => status !== undefined && addresses.has(status.serviceName));
    assert.equal(statuses.length, names.length, `${statuses.length} ServiceL2Statuses of ${names.length} Services: ${statuses.map(({ status }) => `${status?.serviceName} ${status?.node}`).join(", ")}`);
    const leaders = new Map(statuses.map(({ metadata, status }) => [status?.serviceName ?? "", { address: addresses.get(status?.serviceName ?? "") ?? "", node: status?.node ?? "", object: metadata.name }]));
    assert.equal(leaders.size, names.length);
    return leaders;
  }, { ...WITHIN, what: "one ServiceL2Status for each" });
}

/** Waits until every address is answered by its leader and by nobody else. */
export async function expectAnswers(lab: Lab, leaders: ReadonlyMap<string, Leadership>): Promise<void> {
  await askEach([...leaders.values()], ({ address, node }) => untilAnswerFrom(lab, address, node));
}

/** Waits until statuses and answers agree, while both may still change. @returns the leaders then */
export async function expectAnswersAsTold(lab: Lab, names: readonly string[]): Promise<Map<string, Leadership>> {
  return eventually(async () => {
    const leaders = await settledLeaders(lab, names);
    await askEach([...leaders.values()], ({ address, node }) => expectAnswerFrom(lab, address, node));
    return leaders;
  }, { timeoutMs: 120_000, what: "every address is answered by the node that its status names" });
}

/** A few at a time: the client's arping processes share two cores with everything else. */
async function askEach<T>(all: readonly T[], ask: (each: T) => Promise<void>): Promise<void> {
  const waiting = [...all];
  const asker = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await ask(next);
  };
  await Promise.all([asker(), asker(), asker(), asker(), asker()]);
}

/** Waits until another node than these leads the Service. */
export async function leaderOtherThan(lab: Lab, name: string, others: readonly string[]): Promise<string> {
  return eventually(async () => {
    const leader = await leaderOf(lab, name);
    assert.ok(leader !== undefined && !others.includes(leader), `still ${leader}`);
    return leader;
  }, { ...WITHIN, what: `a leader that is not ${others.join(" or ")}` });
}

/** Waits until another node than these leads the Service and is the only one that answers. */
export async function answererOtherThan(lab: Lab, name: string, address: string, others: readonly string[]): Promise<string> {
  return answeringLeader(lab, name, address, (node) => !others.includes(node));
}

/** How long nothing may happen before it counts as nothing. */
const QUIET_MS = 3000;

/**
 * Nobody but this node answers, for a while, and it leads all the time; a question that nobody answers is none that another one
 * did. When a speaker stood still meanwhile for longer than is forgiven, it is printed instead, and one node leads and answers in the end.
 */
export async function expectStays(lab: Lab, { name, address, node }: { readonly name: string; readonly address: string; readonly node: string }): Promise<void> {
  const heartbeats = await Heartbeats.start(lab);
  const mac = await lab.nodeMac(node);
  let stayed = false;
  await heartbeats.hold(async () => {
    // The last words of whoever had it before are no answers of today.
    await untilAnswerFrom(lab, address, node);
    const end = performance.now() + QUIET_MS;
    while (performance.now() < end) {
      const macs = await lab.arping(CLIENT, address, { count: 3 });
      const others = macs.filter((each) => each !== mac);
      assert.deepEqual(others, [], `for ${address} of ${node} (${mac}) answered ${macs.join(" ")}`);
      assert.equal(await leaderOf(lab, name), node, `leader of ${name}`);
      await pause(100);
    }
    await untilAnswerFrom(lab, address, node);
    stayed = true;
  });
  await heartbeats.stop();
  if (!stayed) await answeringLeader(lab, name, address);
}
