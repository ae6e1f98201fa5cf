import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, it } from "vitest";
import { HolderPages, PAGE_SIZE } from "./holder-pages.ts";

const LAST_OFFSET = 3 * PAGE_SIZE + 10;

/** Hands out offsets as a range does: what is above the watermark is in a Map of its own. */
class Range {
  readonly pages: HolderPages<string>;
  readonly above = new Map<number, string>();
  readonly isExcluded: (offset: number) => boolean;

  constructor(isExcluded: (offset: number) => boolean) {
    this.isExcluded = isExcluded;
    this.pages = new HolderPages(LAST_OFFSET, isExcluded);
  }

  lowestFree(): number | undefined {
    return this.pages.lowestFree((offset) => {
      const value = this.above.get(offset);
      this.above.delete(offset);
      return value;
    });
  }

  get(offset: number): string | undefined {
    return offset < this.pages.watermark ? this.pages.get(offset) : this.above.get(offset);
  }

  set(offset: number, value: string): void {
    if (offset < this.pages.watermark) this.pages.set(offset, value);
    else this.above.set(offset, value);
  }

  delete(offset: number): void {
    if (offset < this.pages.watermark) this.pages.delete(offset);
    else this.above.delete(offset);
  }
}

/** Runs of offsets, so that whole pages get full and empty. */
const runs = fc.record({ kind: fc.constantFrom("next" as const, "next" as const, "set" as const, "delete" as const), from: fc.integer({ min: 0, max: LAST_OFFSET }), count: fc.integer({ min: 1, max: 2 * PAGE_SIZE }) });

describe("pages of holders, against an array that is searched from the start", () => {
  it("the same values, the same lowest free offset, and no page that nobody is on", () => {
    fc.assert(
      fc.property(fc.array(runs, { maxLength: 12 }), fc.integer({ min: 2, max: 300 }), (steps, period) => {
        const range = new Range((offset) => offset % period === 0);
        const model: (string | undefined)[] = Array.from<string | undefined>({ length: LAST_OFFSET + 1 }).fill(undefined);
        for (const { kind, from, count } of steps) {
          for (let step = 0; step < count; step++) {
            const lowest = model.findIndex((value, offset) => value === undefined && !range.isExcluded(offset));
            const offset = kind === "next" ? lowest : (from + step) % (LAST_OFFSET + 1);
            if (kind === "next") assert.equal(range.lowestFree(), lowest === -1 ? undefined : lowest);
            if (offset === -1) break;
            if (range.isExcluded(offset)) continue;
            model[offset] = kind === "delete" ? undefined : `${kind} ${step}`;
            if (kind === "delete") range.delete(offset);
            else range.set(offset, `${kind} ${step}`);
            assert.equal(range.get(offset), model[offset]);
          }
          assert.deepEqual(model.map((_, offset) => range.get(offset)), model);
          const below = model.slice(0, range.pages.watermark);
          assert.equal(range.pages.taken, below.filter((value) => value !== undefined).length);
          const pagesUsed = new Set(below.flatMap((value, offset) => (value === undefined ? [] : [Math.floor(offset / PAGE_SIZE)])));
          // One that was opened to look for the lowest offset may still wait for its first value.
          assert.ok(range.pages.pageCount <= pagesUsed.size + 1, `${range.pages.pageCount} pages, ${pagesUsed.size} of them used`);
        }
      }),
      { numRuns: 40 },
    );
  }, 60_000);

  it("drops a page when its last value goes, and makes it again when its turn comes", () => {
    const pages = new HolderPages<string>(Number.MAX_SAFE_INTEGER);
    for (let offset = 0; offset < 4 * PAGE_SIZE; offset++) pages.set(pages.lowestFree() ?? -1, "a");
    assert.equal(pages.pageCount, 4);
    for (let offset = 0; offset < 3 * PAGE_SIZE; offset++) if (offset !== PAGE_SIZE) pages.delete(offset);
    assert.equal(pages.pageCount, 2);
    assert.equal(pages.get(PAGE_SIZE), "a");
    pages.delete(PAGE_SIZE);
    assert.equal(pages.pageCount, 1);
    const given = Array.from({ length: 3 * PAGE_SIZE + 1 }, () => {
      const offset = pages.lowestFree() ?? -1;
      pages.set(offset, "b");
      return offset;
    });
    assert.deepEqual(given, [...Array.from({ length: 3 * PAGE_SIZE }, (_, offset) => offset), 4 * PAGE_SIZE]);
  });
});
