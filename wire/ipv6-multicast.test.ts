import fc from "fast-check";
import { expect, test } from "vitest";

import { formatIpAddress, parseIpAddress } from "./ip-address.ts";
import { ALL_NODES, isLinkLocal, isMulticast, multicastMac, solicitedNodeGroup } from "./ipv6-multicast.ts";

test.each([
  ["4037::1:800:200e:8c6c", "ff02::1:ff0e:8c6c", "33:33:ff:0e:8c:6c"],
  ["fd00:20::1000", "ff02::1:ff00:1000", "33:33:ff:00:10:00"],
  ["::", "ff02::1:ff00:0", "33:33:ff:00:00:00"],
])("%s is asked for at %s, by frames to %s", (address, group, mac) => {
  const found = solicitedNodeGroup(parseIpAddress(address));
  expect([formatIpAddress(found), multicastMac(found)]).toEqual([group, mac]);
});

test("all nodes are 33:33:00:00:00:01", () => {
  expect(multicastMac(ALL_NODES)).toBe("33:33:00:00:00:01");
});

test("two addresses share a group exactly when their last 24 bits are the same", () => {
  const value = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n });
  fc.assert(
    fc.property(value, value, fc.boolean(), (a, b, alike) => {
      const other = alike ? ((b >> 24n) << 24n) | (a & 0xffffffn) : b;
      const isShared = solicitedNodeGroup({ family: "IPv6", value: a }).value === solicitedNodeGroup({ family: "IPv6", value: other }).value;
      expect(isShared).toBe((a & 0xffffffn) === (other & 0xffffffn));
    }),
  );
});

test.each([
  ["ff02::1", true, false],
  ["fe80::1", false, true],
  ["febf:ffff::1", false, true],
  ["fec0::1", false, false],
  ["fd00::ff", false, false],
  ["192.0.2.1", false, false],
])("%s: multicast %s, link-local %s", (text, multicast, linkLocal) => {
  const address = parseIpAddress(text);
  expect([isMulticast(address), isLinkLocal(address)]).toEqual([multicast, linkLocal]);
});
