/** Who leads which Service: as ServiceL2Status says and as the wire shows, and whether it stays so. */
import assert from "node:assert/strict";
import { eventually } from "./eventually.ts";
import type { Lab } from "./lab.ts";
import { WITHIN, expectAddress, expectAnswerFrom, l2StatusesOf, leaderOf } from "./observe.ts";
import { pause } from "./poll.ts";

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
    assert.equal(statuses.length, names.length, "one ServiceL2Status per Service");
    const leaders = new Map(statuses.map(({ metadata, status }) => [status?.serviceName ?? "", { address: addresses.get(status?.serviceName ?? "") ?? "", node: status?.node ?? "", object: metadata.name }]));
    assert.equal(leaders.size, names.length);
    return leaders;
  }, { ...WITHIN, what: "one ServiceL2Status for each" });
}

/** Waits until every address is answered by its leader and by nobody else. */
export async function expectAnswers(lab: Lab, leaders: ReadonlyMap<string, Leadership>): Promise<void> {
  await askEach([...leaders.values()], ({ address, node }) => eventually(() => expectAnswerFrom(lab, address, node), { ...WITHIN, what: `${node} answers for ${address}` }));
}

/** Waits until statuses and answers agree, while both may still change. @returns the leaders then */
export async function expectAnswersAsTold(lab: Lab, names: readonly string[]): Promise<Map<string, Leadership>> {
  return eventually(async () => {
    const leaders = await settledLeaders(lab, names);
    await askEach([...leaders.values()], ({ address, node }) => expectAnswerFrom(lab, address, node));
    return leaders;
  }, { timeoutMs: 60_000, what: "every address is answered by the node that its status names" });
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

/** How long nothing may happen before it counts as nothing. */
const QUIET_MS = 3000;

/** Nobody but this node answers, for a while, and it leads all the time. */
export async function expectStays(lab: Lab, expected: { readonly name: string; readonly address: string; readonly node: string }): Promise<void> {
  const end = performance.now() + QUIET_MS;
  do {
    await expectAnswerFrom(lab, expected.address, expected.node);
    assert.equal(await leaderOf(lab, expected.name), expected.node, `leader of ${expected.name}`);
    await pause(100);
  } while (performance.now() < end);
}
