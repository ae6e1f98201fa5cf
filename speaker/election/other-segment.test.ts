import { describe, expect, test } from "vitest";

import type { AddressRow, InterfaceFact } from "../packet-protocol.ts";
import { ETH0, FakeMembers, rowsOf } from "./fake-members.ts";
import { UNANSWERED_MS } from "./group-keeper.ts";

const NODES = ["a", "b", "c"];
const { isNodeInterface: _, ...ELSEWHERE } = ETH0;
/** A card on another network than the one that the nodes reach each other by. */
const ETH1: InterfaceFact = { ...ELSEWHERE, name: "eth1", index: 3, mac: "02:00:00:00:01:01" };
const ON_ETH1: Partial<AddressRow> = { interfaces: ["eth1"] };

/** Members of which none hears a frame, on either card: nobody there answers what is asked. */
function unanswered(rows: readonly AddressRow[]): FakeMembers {
  const members = new FakeMembers({ nodes: NODES });
  for (const node of members.nodes) {
    node.hears = false;
    node.interfaces = [ETH0, ETH1];
  }
  members.start(rows);
  return members;
}

describe("a segment on which nobody answers, apart from the nodes' own", () => {
  test("gets its addresses all the same, a second later, each claimed once", () => {
    const members = unanswered(rowsOf(12, NODES, ON_ETH1));
    members.run(UNANSWERED_MS);
    expect([...rowsOf(12, NODES)].flatMap(({ address }) => members.owners(address))).toEqual([]);
    members.run(1500);
    expect(members.ownership().size).toBe(12);
    expect(NODES.flatMap((node) => members.said(node, "owned")).length).toBe(12);
    expect(NODES.flatMap((node) => members.said(node, "lost"))).toEqual([]);
  });

  test("gets them again when their owner dies", () => {
    const members = unanswered(rowsOf(12, NODES, ON_ETH1));
    members.run(3000);
    const lost = members.held("a");
    expect(lost.length).toBeGreaterThan(0);
    members.kill("a", 200);
    members.run(200 + UNANSWERED_MS - 1);
    expect(members.held("b").length + members.held("c").length).toBe(12 - lost.length);
    members.run(200);
    expect(members.ownership().size).toBe(12);
  });

  test("gets nothing from a node that hears no majority: it may be the deaf one", () => {
    const members = unanswered(rowsOf(12, NODES, ON_ETH1));
    members.run(3000);
    const before = members.held("a");
    members.split(["a"], ["b", "c"], 200);
    members.run(10_000);
    expect(members.held("a")).toEqual(before);
    expect(new Set([...before, ...members.held("b"), ...members.held("c")]).size).toBe(12);
    expect(members.held("b").length + members.held("c").length).toBe(12);
  });

  test("is not taken for one on which the nodes reach each other: whoever is deaf there takes nothing", () => {
    const members = unanswered(rowsOf(12, NODES));
    members.run(10_000);
    expect(NODES.flatMap((node) => members.held(node))).toEqual([]);
  });
});
