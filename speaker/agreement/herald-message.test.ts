import assert from "node:assert/strict";

import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { DecodeError } from "../../wire/decode-error.ts";
import type { ClaimEntry } from "../election/claims-protocol.ts";
import { decodeHeraldMessage, encodeHeraldMessage, MAX_UPDATE_ENTRIES, passedOn } from "./herald-message.ts";
import type { HeraldBody, HeraldMessage } from "./herald-message.ts";

const nodeName = fc.stringMatching(/^[a-z0-9.-]{1,63}$/);
const u48 = fc.integer({ min: 0, max: 2 ** 48 - 1 });
const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const address = fc.oneof(
  fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((bytes) => bytes.join(".")),
  fc.constantFrom("fd00::1", "2001:db8::", "::1"),
);
const entry: fc.Arbitrary<ClaimEntry> = fc.record({
  address,
  state: fc.constantFrom("claim", "releasing", "released", "veto"),
  term: u48,
  witnessed: fc.boolean(),
  successor: fc.oneof(fc.constant(""), nodeName),
});
const body: fc.Arbitrary<HeraldBody> = fc.oneof(
  fc.record({ kind: fc.constant("heartbeat" as const), digests: fc.array(fc.record({ owner: nodeName, boot: u48, version: u32, hash: u48 }), { maxLength: 16 }) }),
  fc.record({ kind: fc.constant("report" as const), about: nodeName, boot: u48, class: fc.constantFrom("silent" as const, "refused" as const, "paused" as const, "heard" as const) }),
  fc.record({ kind: fc.constant("pull" as const), owner: nodeName }),
  fc.record({
    kind: fc.constant("update" as const),
    update: fc.record({
      owner: nodeName,
      boot: u48,
      facts: fc.record({ ready: fc.boolean(), fresh: fc.boolean(), settled: fc.boolean(), template: fc.oneof(fc.constant(""), nodeName) }),
      base: fc.option(u32, { nil: undefined }),
      version: u32,
      hash: u48,
      entries: fc.array(entry, { maxLength: 40 }),
      removed: fc.array(address, { maxLength: 10 }),
    }),
  }),
);
const message: fc.Arbitrary<HeraldMessage> = fc.record({ sender: nodeName, boot: u48, sequence: u32, hops: fc.nat(255), body });

describe("Herald messages", () => {
  test("come back as they were", () => {
    fc.assert(fc.property(message, (value) => void expect(decodeHeraldMessage(encodeHeraldMessage(value))).toEqual(value)));
  });

  test("any bytes are a message or a DecodeError", () => {
    const mutated = fc.tuple(message, fc.nat(), fc.nat(255)).map(([value, at, byte]) => {
      const bytes = encodeHeraldMessage(value).slice();
      bytes[at % bytes.length] = byte;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), mutated), (bytes) => {
        try {
          decodeHeraldMessage(bytes);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
    );
  });

  test("cut short anywhere, they are refused", () => {
    fc.assert(
      fc.property(message, fc.nat(), (value, at) => {
        const bytes = encodeHeraldMessage(value);
        expect(() => decodeHeraldMessage(bytes.subarray(0, at % bytes.length))).toThrow(DecodeError);
      }),
    );
  });

  test("ninety claims fit a datagram, five thousand take less than 120 kB", () => {
    const updateOf = (count: number): Uint8Array => {
      const entries = Array.from({ length: count }, (_, index) => ({ address: `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`, state: "claim" as const, term: 1_800_000_000_000, witnessed: true, successor: "" }));
      const update = { owner: "a-node-name-of-some-length.example", boot: 1_800_000_000_000, facts: { ready: true, fresh: true, settled: true, template: "7f8c9d" }, base: 1, version: 2, hash: 3, entries, removed: [] };
      return encodeHeraldMessage({ sender: update.owner, boot: update.boot, sequence: 1, hops: 0, body: { kind: "update", update } });
    };
    expect(updateOf(90).length).toBeLessThanOrEqual(1250);
    expect(updateOf(5000).length).toBeLessThan(120_000);
  });

  test("a byte order mark is part of a name: no two names on the wire are one name, and none is empty", () => {
    const pull = (owner: readonly number[]): Uint8Array => Uint8Array.of(0x48, 2, 3, 0, 1, 0x61, ...new Uint8Array(10), owner.length, ...owner);
    const mark = [0xef, 0xbb, 0xbf];
    expect(decodeHeraldMessage(pull([0x62])).body).toEqual({ kind: "pull", owner: "b" });
    expect(decodeHeraldMessage(pull([...mark, 0x62])).body).toEqual({ kind: "pull", owner: "\uFEFFb" });
    expect(decodeHeraldMessage(pull(mark)).body).toEqual({ kind: "pull", owner: "\uFEFF" });
  });

  test("a list as long as its count may be is read; a larger count is refused before anything is read for it", () => {
    const successors = (count: number): Uint8Array => {
      const head = [0x48, 2, 2, 0, 1, 0x61, ...new Uint8Array(10), 1, 0x61, ...new Uint8Array(6), 0, 0, ...new Uint8Array(14)];
      return Uint8Array.from([...head, count >> 8, count & 0xff, ...Array.from({ length: count }, () => [1, 0x62]).flat(), 0, 0, 0, 0]);
    };
    expect(decodeHeraldMessage(successors(MAX_UPDATE_ENTRIES)).body).toMatchObject({ kind: "update", update: { entries: [], removed: [] } });
    expect(() => decodeHeraldMessage(successors(MAX_UPDATE_ENTRIES + 1))).toThrow(`at most ${MAX_UPDATE_ENTRIES}`);
    expect(() => decodeHeraldMessage(successors(65_535))).toThrow(`at most ${MAX_UPDATE_ENTRIES}`);
  });

  test("passed on, a message differs in its hops alone", () => {
    const bytes = encodeHeraldMessage({ sender: "a", boot: 1, sequence: 2, hops: 0, body: { kind: "pull", owner: "b" } });
    expect(decodeHeraldMessage(passedOn(bytes, 3))).toEqual({ ...decodeHeraldMessage(bytes), hops: 3 });
  });
});
