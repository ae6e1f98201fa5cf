import { describe, expect, test } from "vitest";

import { MAX_UNKNOWN_ADDRESSES, TermMemory, UNKNOWN_KEPT_MS } from "./term-memory.ts";

describe("TermMemory", () => {
  test("a term never goes back, and survives the address leaving the table and coming back within a minute", () => {
    const terms = new TermMemory();
    terms.know("192.0.2.1");
    terms.raise("192.0.2.1", 7, 0);
    terms.raise("192.0.2.1", 3, 0);
    terms.unknow("192.0.2.1", 0);
    terms.raise("192.0.2.1", 5, 10);
    terms.know("192.0.2.1");
    expect(terms.get("192.0.2.1")).toBe(7);
  });

  test("an address that is not in the table is forgotten after a minute", () => {
    const terms = new TermMemory();
    terms.raise("192.0.2.1", 7, 0);
    terms.raise("192.0.2.2", 8, UNKNOWN_KEPT_MS - 1);
    expect(terms.get("192.0.2.1")).toBe(7);
    terms.raise("192.0.2.3", 9, UNKNOWN_KEPT_MS);
    expect(terms.get("192.0.2.1")).toBe(0);
    expect(terms.get("192.0.2.2")).toBe(8);
  });

  test("there is room for so many unknown addresses and no more", () => {
    const terms = new TermMemory();
    for (let index = 0; index < MAX_UNKNOWN_ADDRESSES; index++) expect(terms.raise(String(index), 1, 0)).toBe(true);
    expect(terms.raise("one more", 1, 0)).toBe(false);
    expect(terms.raise("7", 2, 0)).toBe(true);
  });
});
