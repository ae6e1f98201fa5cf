import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { cachedAscii, MAX_CACHED_BYTES } from "./text-cache.ts";

const encoder = new TextEncoder();

describe("cachedAscii", () => {
  test("gives the text of the bytes, whatever was asked for before", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: MAX_CACHED_BYTES }), { maxLength: 50 }), (texts) => {
        for (const text of texts) {
          const bytes = encoder.encode(`<${text}>`);
          const isAscii = bytes.length === text.length + 2;
          expect(cachedAscii(bytes, 1, bytes.length - 2)).toBe(isAscii ? text : undefined);
        }
      }),
    );
  });

  test("texts that share a slot push each other out and stay apart", () => {
    for (let round = 0; round < 2; round++) {
      for (let index = 0; index < 5000; index++) expect(cachedAscii(encoder.encode(`node-${index}`), 0, `node-${index}`.length)).toBe(`node-${index}`);
    }
  });

  test("leaves alone what is too long, no ASCII, or beyond the end", () => {
    expect(cachedAscii(new Uint8Array(MAX_CACHED_BYTES + 1).fill(65), 0, MAX_CACHED_BYTES + 1)).toBeUndefined();
    expect(cachedAscii(Uint8Array.of(65, 0x80), 0, 2)).toBeUndefined();
    expect(cachedAscii(Uint8Array.of(65), 0, 2)).toBeUndefined();
    expect(cachedAscii(new Uint8Array(0), 0, 0)).toBe("");
  });
});
