import { expect, test } from "vitest";

import type { AddressRow } from "../packet-protocol.ts";
import { CandidateLists, MAX_SHARED_LISTS } from "./candidate-lists.ts";

function rowOf(address: string, nodes: readonly string[], score = 0): AddressRow {
  return { address, group: address, interfaces: "all", candidates: nodes.map((node) => ({ node, score })) };
}

test("rows with equal lists share one; what differs in a node, a score or the order has its own", () => {
  const lists = new CandidateLists();
  const first = lists.share(rowOf("192.0.2.1", ["a", "b"]));
  expect(lists.share(rowOf("192.0.2.2", ["a", "b"])).candidates).toBe(first.candidates);
  for (const other of [rowOf("192.0.2.3", ["a", "c"]), rowOf("192.0.2.3", ["a", "b"], 1), rowOf("192.0.2.3", ["b", "a"]), rowOf("192.0.2.3", ["a"])]) {
    expect(lists.share(other)).toEqual(other);
  }
});

test("a node that is listed twice has its highest score", () => {
  expect(new CandidateLists().of([{ node: "a", score: 1 }, { node: "a", score: 5 }, { node: "a", score: 2 }]).scores.get("a")).toBe(5);
});

test("more lists than are remembered stay right", () => {
  const lists = new CandidateLists();
  for (let count = 0; count < 2 * MAX_SHARED_LISTS; count++) expect(lists.share(rowOf("192.0.2.1", [`n${count}`]))).toEqual(rowOf("192.0.2.1", [`n${count}`]));
  expect(lists.share(rowOf("192.0.2.1", ["n0"]))).toEqual(rowOf("192.0.2.1", ["n0"]));
});
