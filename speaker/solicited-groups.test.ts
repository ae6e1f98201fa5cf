import fc from "fast-check";
import { beforeEach, expect, test } from "vitest";

import { FakeClock } from "../sys/fake-clock.ts";
import { FakeMulticastGroups } from "../sys/multicast-groups-fake.ts";
import { formatIpAddress, parseIpAddress } from "../wire/ip-address.ts";
import { solicitedNodeGroup } from "../wire/ipv6-multicast.ts";
import type { InterfaceFact } from "./packet-protocol.ts";
import { GROUPS_PER_BATCH, MAX_MEMBERSHIPS, RETRY_AFTER_MS, SolicitedGroups } from "./solicited-groups.ts";

const eth0: InterfaceFact = { index: 2, name: "eth0", mac: "02:00:00:00:00:0a", usable: true, linkLocal: "fe80::a" };
const eth1: InterfaceFact = { index: 3, name: "eth1", mac: "02:00:00:00:00:0b", usable: true, linkLocal: "fe80::b" };

let clock: FakeClock;
let door: FakeMulticastGroups;
let warnings: unknown[];
let groups: SolicitedGroups;
beforeEach(() => {
  clock = new FakeClock();
  door = new FakeMulticastGroups([2, 3]);
  warnings = [];
  groups = new SolicitedGroups({ clock, log: { warn: (event, fields) => warnings.push([event, fields?.["reason"]]) }, groups: door });
  groups.take({ kind: "started", interfaces: [eth0, eth1] });
});

function own(address: string, interfaces: readonly InterfaceFact[] = [eth0]): void {
  groups.take({ kind: "owned", address, sinceUnixMs: 0, reason: "FirstInRank", interfaces });
}

function lose(address: string): void {
  groups.take({ kind: "lost", address, reason: "Removed" });
}

async function members(): Promise<string[]> {
  await clock.advance(10);
  return door.members();
}

test("joins the group of an address on its interfaces, and leaves it with the address", async () => {
  own("fd00::1:2345", [eth0, eth1]);
  own("192.0.2.80");
  expect(await members()).toEqual(["2 ff02::1:ff01:2345", "3 ff02::1:ff01:2345"]);
  own("fd00::1:2345", [eth1]);
  expect(await members()).toEqual(["3 ff02::1:ff01:2345"]);
  lose("192.0.2.80");
  lose("fd00::1:2345");
  expect(await members()).toEqual([]);
});

test("addresses that end alike share a group until the last one goes", async () => {
  own("fd00::1:2345");
  own("fd00:1::1:2345");
  own("fd00:1::1:2345");
  lose("fd00::1:2345");
  expect(await members()).toEqual(["2 ff02::1:ff01:2345"]);
  expect(door.joins).toBe(1);
  lose("fd00:1::1:2345");
  expect(await members()).toEqual([]);
});

test("an interface without a link-local address joins nothing until it has one", async () => {
  groups.take({ kind: "interfaces", interfaces: [{ index: 2, name: "eth0", mac: eth0.mac, usable: true }, eth1] });
  own("fd00::1");
  expect(await members()).toEqual([]);
  groups.take({ kind: "interfaces", interfaces: [eth0, eth1] });
  expect(await members()).toEqual(["2 ff02::1:ff00:1"]);
  expect(warnings).toEqual([]);
});

test("on an interface that went and came back it joins anew, though both came in one go", async () => {
  own("fd00::1");
  await members();
  door.setInterface(2, false);
  door.setInterface(2, true);
  groups.take({ kind: "interfaces", interfaces: [{ ...eth0, usable: false, reason: "down" }] });
  groups.take({ kind: "interfaces", interfaces: [eth0] });
  expect(await members()).toEqual(["2 ff02::1:ff00:1"]);
});

test("works a batch at a time, so that others have their turn", async () => {
  const batches: number[] = [];
  const counting = {
    after: (ms: number, callback: () => void) =>
      clock.after(ms, () => {
        const before = door.joins;
        callback();
        batches.push(door.joins - before);
      }),
  };
  groups = new SolicitedGroups({ clock: counting, log: { warn: () => {} }, groups: door });
  groups.take({ kind: "started", interfaces: [eth0] });
  for (let number = 1; number <= 2 * GROUPS_PER_BATCH + 1; number++) own(`fd00::${number.toString(16)}`);
  expect(door.members()).toEqual([]);
  await members();
  expect(batches).toEqual([GROUPS_PER_BATCH, GROUPS_PER_BATCH, 1]);
});

test("what the kernel refuses is told once for each reason, and tried again", async () => {
  door.setInterface(2, false);
  own("fd00::1");
  own("fd00::2");
  expect(await members()).toEqual([]);
  expect(warnings).toEqual([["groupNotJoined", "ENODEV"]]);
  door.setInterface(2, true);
  await clock.advance(RETRY_AFTER_MS);
  expect(await members()).toEqual(["2 ff02::1:ff00:1", "2 ff02::1:ff00:2"]);
  expect(clock.timers).toBe(0);
});

test("beyond the maximum nothing is joined until something is left", async () => {
  const address = (number: number): string => `fd00::${(number >> 16).toString(16)}:${(number & 0xffff).toString(16)}`;
  for (let number = 0; number <= MAX_MEMBERSHIPS; number++) own(address(number));
  expect(await members()).toHaveLength(MAX_MEMBERSHIPS);
  expect(warnings).toEqual([["groupNotJoined", "tooMany"]]);
  lose(address(0));
  await clock.advance(RETRY_AFTER_MS);
  expect(await members()).toHaveLength(MAX_MEMBERSHIPS);
  expect(door.members()).toContain(`2 ${formatIpAddress(solicitedNodeGroup(parseIpAddress(address(MAX_MEMBERSHIPS))))}`);
});

test("whatever happens, in the end the groups are those of what is owned where IPv6 is", async () => {
  const address = fc.constantFrom("fd00::1", "fd00::2", "fd00:1::2", "fd00::3");
  const on = fc.subarray([eth0, eth1], { minLength: 1 });
  const step = fc.oneof(
    fc.record({ kind: fc.constant("own" as const), address, on }),
    fc.record({ kind: fc.constant("lose" as const), address }),
    fc.record({ kind: fc.constant("interfaces" as const), on: fc.subarray([eth0, eth1]) }),
    fc.constant({ kind: "wait" as const }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      clock = new FakeClock();
      door = new FakeMulticastGroups([2, 3]);
      groups = new SolicitedGroups({ clock, log: { warn: () => {} }, groups: door });
      const owned = new Map<string, readonly InterfaceFact[]>();
      let carrying: readonly InterfaceFact[] = [eth0, eth1];
      groups.take({ kind: "started", interfaces: carrying });
      for (const taken of steps) {
        if (taken.kind === "own") {
          owned.set(taken.address, taken.on);
          own(taken.address, taken.on);
        } else if (taken.kind === "lose") {
          owned.delete(taken.address);
          lose(taken.address);
        } else if (taken.kind === "interfaces") {
          carrying = taken.on;
          groups.take({ kind: "interfaces", interfaces: carrying });
        } else {
          await clock.advance(5);
        }
      }
      const wanted = [...owned].flatMap(([text, facts]) => facts.filter((fact) => carrying.includes(fact)).map(({ index }) => `${index} ${formatIpAddress(solicitedNodeGroup(parseIpAddress(text)))}`));
      expect(await members()).toEqual([...new Set(wanted)].toSorted());
    }),
    { numRuns: 100 },
  );
});
