import { describe, expect, test } from "vitest";

import type { NodeFacts } from "./claims-protocol.ts";
import { ListCopy } from "./list-copy.ts";
import { Peer } from "./peer.ts";
import { SAMPLE_HEARD_WITHIN_MS, SAMPLE_WITHIN_MS, SETTLED_AT_LAST_MS, Standing, VIEW_UNCHANGED_MS } from "./standing.ts";

/** Node "me" that is ready at 0, and peers that are alive and have told their facts, or nothing. */
function view(facts: Record<string, Partial<NodeFacts> | undefined>): { standing: Standing; peers: Map<string, Peer> } {
  const peers = new Map<string, Peer>();
  for (const [node, told] of Object.entries(facts)) {
    const peer = new Peer({ node, state: "alive", damped: false });
    if (told !== undefined) {
      peer.list = new ListCopy({ owner: node, boot: 1, facts: { ready: true, fresh: true, settled: false, template: "", ...told } });
      peer.newestBoot = 1;
      peer.confirmed = true;
    }
    peers.set(node, peer);
  }
  const standing = new Standing("me", (node) => peers.get(node));
  standing.ready = true;
  return { standing, peers };
}

describe("settled", () => {
  test.each([
    ["alone: after 300 ms", {}, ["me"], VIEW_UNCHANGED_MS],
    ["all ready: after 300 ms", { a: {}, b: {} }, ["me", "a", "b"], VIEW_UNCHANGED_MS],
    ["with a settled one: at once", { a: { settled: true }, b: {} }, ["me", "a", "b"], 0],
    ["the list of one is missing: after 3 s", { a: { settled: true }, b: undefined }, ["me", "a", "b"], SETTLED_AT_LAST_MS],
    ["one that should be there is unknown: after 3 s", { a: { settled: true } }, ["me", "a", "b"], SETTLED_AT_LAST_MS],
    ["one is not ready: after 3 s", { a: { ready: false } }, ["me", "a"], SETTLED_AT_LAST_MS],
  ])("%s", (_, facts, known, at) => {
    const { standing, peers } = view(facts);
    standing.setKnown(known, 0);
    if (at > 0) expect(standing.judgeSettled(peers.values(), at - 1)).toEqual({ settled: false, askAgainAt: at });
    expect(standing.judgeSettled(peers.values(), at).settled).toBe(true);
  });

  test("nobody told who should be there: after 3 s", () => {
    const { standing, peers } = view({});
    expect(standing.judgeSettled(peers.values(), SETTLED_AT_LAST_MS - 1).settled).toBe(false);
    expect(standing.judgeSettled(peers.values(), SETTLED_AT_LAST_MS).settled).toBe(true);
  });

  test("never before the table is complete", () => {
    const { standing, peers } = view({});
    standing.ready = false;
    standing.setKnown(["me"], 0);
    expect(standing.judgeSettled(peers.values(), 60_000)).toEqual({ settled: false, askAgainAt: undefined });
  });
});

describe("witnessed", () => {
  test.each([
    [["me"], [], false, true],
    [["me", "a"], ["a"], false, true],
    [["me", "a"], [], false, false],
    [["me", "a"], [], true, true],
    [["me", "a", "b"], ["a"], false, true],
    [["me", "a", "b"], [], true, false],
    [["me", "a", "b", "c"], ["a"], true, false],
    [["me", "a", "b", "c"], ["a", "b"], false, true],
  ])("of %j, %j are heard besides this node, the gateway %s: %s", (known, heard, gateway, expected) => {
    const { standing, peers } = view(Object.fromEntries(known.filter((node) => node !== "me").map((node) => [node, {}])));
    for (const [node, peer] of peers) if (!heard.includes(node)) peer.state = "dead";
    standing.setKnown(known, 0);
    standing.setGateway(gateway, 5);
    expect(standing.isWitnessed).toBe(expected);
  });

  test("who missed a beat, or is suspect, is not heard; the time counts from when the majority is back", () => {
    const { standing, peers } = view({ a: {}, b: {} });
    standing.setKnown(["me", "a", "b"], 0);
    expect(standing.majoritySince).toBe(0);
    for (const [node, peer] of peers) if (node === "a") peer.state = "suspect";
    else peer.suspectedSince = 9;
    standing.count(10);
    expect(standing.isWitnessed).toBe(false);
    for (const peer of peers.values()) peer.suspectedSince = undefined;
    standing.count(20);
    expect(standing.majoritySince).toBe(20);
  });
});

describe("witnessed in a large cluster", () => {
  const members = Array.from({ length: 40 }, (_, index) => `peer-${index}`);

  function large(): { standing: Standing; peers: Map<string, Peer>; sayAt: (now: number, count: number) => void } {
    const { standing, peers } = view(Object.fromEntries(members.map((node) => [node, {}])));
    standing.setKnown(["me", ...members], 0);
    const sayAt = (now: number, count: number): void => members.slice(0, count).forEach((node) => standing.said(node, now));
    return { standing, peers, sayAt };
  }

  test("hearsay is not enough: somebody must be heard", () => {
    const { standing, sayAt } = large();
    expect(standing.isWitnessed).toBe(false);
    sayAt(100, 8);
    expect(standing.isWitnessed).toBe(true);
  });

  test.each([[3, true], [4, false], [8, false]])("of eight that are heard, %i fall silent", (silent, isWitnessed) => {
    const { standing, peers, sayAt } = large();
    sayAt(100, 8);
    for (const node of members.slice(0, silent)) {
      const peer = peers.get(node);
      if (peer !== undefined) peer.suspectedSince = 200;
    }
    standing.count(330);
    expect(standing.isWitnessed).toBe(isWitnessed);
  });

  test("who hears nobody for long is no majority, though membership does not know yet", () => {
    const { standing, sayAt } = large();
    sayAt(100, 8);
    standing.count(101 + SAMPLE_HEARD_WITHIN_MS);
    expect(standing.isWitnessed).toBe(false);
    sayAt(5000, 8);
    expect(standing.isWitnessed).toBe(true);
    standing.count(5001 + SAMPLE_WITHIN_MS);
    expect(standing.isWitnessed).toBe(false);
  });
});
