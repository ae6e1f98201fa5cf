import fc from "fast-check";
import { expect, test } from "vitest";
import { LineSplitter, maxLineBytes } from "./line-splitter.ts";

test("every way to cut a stream gives the same lines", () => {
  const line = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => !text.includes("\n"));
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat(200)), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(""));
      const points = [...new Set([0, ...cuts.filter((cut) => cut < bytes.length), bytes.length])].toSorted((a, b) => a - b);
      const splitter = new LineSplitter();
      const found = points.slice(1).flatMap((point, index) => splitter.push(bytes.subarray(points[index], point)));
      expect(found).toEqual(lines);
    }),
  );
});

test("a line without end is refused before it fills the memory", () => {
  const splitter = new LineSplitter();
  const chunk = Buffer.alloc(1024 * 1024, 0x61);
  for (let mebibytes = 1; mebibytes * chunk.length <= maxLineBytes; mebibytes += 1) splitter.push(chunk);
  expect(() => splitter.push(chunk)).toThrow(RangeError);
});
