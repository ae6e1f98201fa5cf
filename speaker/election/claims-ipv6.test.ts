import { describe, expect, test } from "vitest";

import type { AddressRow, InterfaceFact } from "../packet-protocol.ts";
import { ETH0, FakeMembers, rankedRow } from "./fake-members.ts";
import { LINK_LOCAL_WITHIN_MS } from "./group-table.ts";

const NODES = ["a", "b", "c"];
const { linkLocal: _, ...WITHOUT_IPV6 } = ETH0;

/** Members whose interfaces carry IPv6, but for those of some nodes. */
function started(rows: readonly AddressRow[], without: readonly string[]): FakeMembers {
  const members = new FakeMembers({ nodes: NODES });
  for (const node of without) members.node(node).interfaces = [WITHOUT_IPV6];
  members.start(rows);
  members.run(2000);
  return members;
}

/** Addresses of both families that move together, and the nodes in order of rank. */
function dualStack(): { readonly rows: readonly [AddressRow, AddressRow]; readonly order: readonly string[] } {
  const { row, order } = rankedRow("192.0.2.1", NODES);
  return { rows: [row, { ...row, address: "2001:db8::1" }], order };
}

function setInterfaces(members: FakeMembers, node: string, interfaces: readonly InterfaceFact[]): void {
  members.node(node).interfaces = interfaces;
  members.give(node, { kind: "interfaces", interfaces });
}

describe("an interface without an IPv6 link-local address", () => {
  test("announces no IPv6 address: the next in rank does, and keeps it when the interface gets one", () => {
    const { row, order } = rankedRow("2001:db8::1", NODES);
    const [first = "", second = ""] = order;
    const members = started([row], [first]);
    expect(members.owners(row.address)).toEqual([second]);
    const since = members.now;
    setInterfaces(members, first, [ETH0]);
    members.run(5000);
    expect(members.owners(row.address)).toEqual([second]);
    expect(NODES.flatMap((node) => members.said(node, "lost", since))).toEqual([]);
  });

  test("announces IPv4 all the same", () => {
    const { row, order } = rankedRow("192.0.2.1", NODES);
    expect(started([row], NODES).owners(row.address)).toEqual([order[0]]);
  });

  test("leaves addresses of both families that move together to a node that can announce all of them", () => {
    const { rows, order } = dualStack();
    const [first = "", second = ""] = order;
    const members = started(rows, [first]);
    expect(rows.map(({ address }) => members.owners(address))).toEqual([[second], [second]]);
  });

  test("that lost it while it is up hands both families over at once", () => {
    const { rows, order } = dualStack();
    const [first = ""] = order;
    const members = started(rows, []);
    setInterfaces(members, first, [WITHOUT_IPV6]);
    members.run(100);
    const [owner] = members.owners(rows[0].address);
    expect(owner).not.toBe(first);
    expect(members.owners(rows[1].address)).toEqual([owner]);
  });

  test("is blocked where no other node can announce the address", () => {
    const { row, order } = rankedRow("2001:db8::1", NODES);
    const members = started([row], NODES);
    expect(members.owners(row.address)).toEqual([]);
    expect(members.said(order[0] ?? "", "blocked")).toEqual([{ kind: "blocked", address: row.address, wanted: "all" }]);
  });
});

describe("an interface that came up gets its link-local address a second or two later", () => {
  /** The segment was down for all; its interfaces have been up again for as long as a node needs to trust them. */
  function afterOutage(): { readonly members: FakeMembers; readonly rows: readonly [AddressRow, AddressRow]; readonly owner: string; readonly others: readonly string[] } {
    const { rows } = dualStack();
    const members = started(rows, []);
    for (const node of NODES) setInterfaces(members, node, []);
    members.run(500);
    for (const node of NODES) setInterfaces(members, node, [WITHOUT_IPV6]);
    members.run(1200);
    const [owner = ""] = members.owners(rows[0].address);
    expect(owner).not.toBe("");
    return { members, rows, owner, others: NODES.filter((node) => node !== owner) };
  }

  test("the IPv4 address does not go to whose address comes first, and the IPv6 address comes to it", () => {
    const { members, rows, owner, others } = afterOutage();
    const since = members.now;
    for (const node of others) setInterfaces(members, node, [ETH0]);
    members.run(700);
    setInterfaces(members, owner, [ETH0]);
    members.run(6000);
    expect(rows.map(({ address }) => members.owners(address))).toEqual([[owner], [owner]]);
    expect(NODES.flatMap((node) => members.said(node, "lost", since))).toEqual([]);
    expect(members.said(owner, "handingOver", since)).toEqual([]);
  });

  test("but if it has not come by then, both addresses go to a node that can announce them", () => {
    const { members, rows, owner, others } = afterOutage();
    for (const node of others) setInterfaces(members, node, [ETH0]);
    members.run(LINK_LOCAL_WITHIN_MS);
    const [heir = ""] = members.owners(rows[0].address);
    expect(others).toContain(heir);
    expect(members.owners(rows[1].address)).toEqual([heir]);
    expect(members.owners(rows[0].address)).not.toContain(owner);
  });
});
