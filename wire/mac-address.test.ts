import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { BROADCAST_MAC, MacAddressError, macAddressFromBytes, macAddressToBytes, parseMacAddress } from "./mac-address.ts";

describe("MAC address", () => {
  test("has one canonical text", () => {
    expect(parseMacAddress("AA-BB-CC-00-11-22")).toBe("aa:bb:cc:00:11:22");
    expect(macAddressToBytes(BROADCAST_MAC)).toEqual(new Uint8Array(6).fill(255));
  });

  test.each(["", "aa:bb:cc:00:11", "aa:bb:cc:00:11:22:33", "aa:bb-cc:00:11:22", "aabbcc001122", "aa:bb:cc:00:11:2g", " aa:bb:cc:00:11:22"])("%j is none", (text) => {
    expect(() => parseMacAddress(text)).toThrow(MacAddressError);
  });

  test("survives the way through its bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
        const text = macAddressFromBytes(bytes);
        expect(macAddressToBytes(text)).toEqual(bytes);
        expect(parseMacAddress(text.toUpperCase())).toBe(text);
      }),
    );
  });

  test("has six bytes", () => {
    expect(() => macAddressFromBytes(new Uint8Array(5))).toThrow(MacAddressError);
  });
});
