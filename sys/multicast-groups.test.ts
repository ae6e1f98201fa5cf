import { execFileSync } from "node:child_process";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { makeVethPair, openClient, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import { parseIpAddress } from "../wire/ip-address.ts";
import { multicastMac } from "../wire/ipv6-multicast.ts";
import { FakeMulticastGroups } from "./multicast-groups-fake.ts";
import { MAX_GROUPS_PER_SOCKET, openMulticastGroups } from "./multicast-groups.ts";
import type { MulticastGroups } from "./multicast-groups.ts";
import { inNetworkNamespace } from "./network-namespace.ts";

interface Subject {
  readonly groups: MulticastGroups;
  readonly index: number;
  /** Those of the groups ff02::1:ffaa:... that eth0 is a member of, sorted. */
  members(): string[];
  close(): void;
}

const group = (number: number): ReturnType<typeof parseIpAddress> => parseIpAddress(`ff02::1:ffaa:${number.toString(16)}`);

function suite(open: () => Subject): void {
  let subject: Subject;
  beforeEach(() => {
    subject = open();
  });
  afterEach(() => subject.close());
  const on = (number: number, interfaceIndex = subject.index): Parameters<MulticastGroups["join"]>[0] => ({ interfaceIndex, group: group(number) });

  test("joins and leaves", () => {
    subject.groups.join(on(1));
    subject.groups.join(on(2));
    expect(subject.members()).toEqual(["ff02::1:ffaa:1", "ff02::1:ffaa:2"]);
    subject.groups.leave(on(1));
    expect(subject.members()).toEqual(["ff02::1:ffaa:2"]);
    subject.groups.join(on(1));
    expect(subject.members()).toEqual(["ff02::1:ffaa:1", "ff02::1:ffaa:2"]);
  });

  test("to join twice is to join once, and to leave what was not joined is nothing", () => {
    subject.groups.join(on(1));
    subject.groups.join(on(1));
    subject.groups.leave(on(2));
    subject.groups.leave(on(1));
    expect(subject.members()).toEqual([]);
  });

  test("holds more groups than a socket does", () => {
    const numbers = Array.from({ length: 2 * MAX_GROUPS_PER_SOCKET + 1 }, (_, index) => index + 1);
    for (const number of numbers) subject.groups.join(on(number));
    expect(subject.members()).toHaveLength(numbers.length);
    for (const number of numbers) subject.groups.leave(on(number));
    expect(subject.members()).toEqual([]);
  });

  test("an interface that is not there is ENODEV, and leaves nothing behind", () => {
    expect(() => subject.groups.join(on(1, 999_999))).toThrow("ENODEV");
    subject.groups.join(on(1));
    expect(subject.members()).toEqual(["ff02::1:ffaa:1"]);
  });

  test("with its end all memberships end; it refuses to work then, and closing again does nothing", () => {
    subject.groups.join(on(1));
    subject.groups.close();
    subject.groups.close();
    expect(subject.members()).toEqual([]);
    expect(() => subject.groups.join(on(2))).toThrow("EBADF");
    expect(() => subject.groups.leave(on(2))).toThrow("EBADF");
  });
}

describe("multicast groups, fake", () => {
  suite(() => {
    const groups = new FakeMulticastGroups([2]);
    return { groups, index: 2, members: () => groups.members().map((member) => member.replace("2 ", "")), close: () => groups.close() };
  });
});

const why = whyNoNamespaces();
describe.skipIf(why !== undefined)(`multicast groups, real${why === undefined ? "" : ` (${why})`}`, () => {
  const open = (): Subject & { readonly pair: ReturnType<typeof makeVethPair>; addresses(word: "inet6" | "link"): string[] } => {
    const pair = makeVethPair("groups");
    const { socket, index } = openClient(pair.speaker);
    socket.close();
    const addresses = (word: "inet6" | "link"): string[] => {
      const text = execFileSync("ip", ["-n", pair.speaker, "maddress", "show", "dev", "eth0"], { encoding: "utf8" });
      return text.split("\n").flatMap((line) => (line.trim().startsWith(word) ? [line.trim().split(/\s+/)[1] ?? ""] : [])).toSorted();
    };
    const inside = openMulticastGroups();
    const groups: MulticastGroups = {
      join: (membership) => inNetworkNamespace(pair.speaker, () => inside.join(membership)),
      leave: (membership) => inside.leave(membership),
      close: () => inside.close(),
    };
    const members = (): string[] => addresses("inet6").filter((text) => text.startsWith("ff02::1:ffaa:"));
    return { pair, groups, index, addresses, members, close: () => { groups.close(); pair.remove(); } };
  };
  describe("as any", () => suite(open));

  test("the interface's own filter lets the group's frames in", () => {
    const { groups, index, addresses, close } = open();
    try {
      const mac = multicastMac(group(7));
      expect(addresses("link")).not.toContain(mac);
      groups.join({ interfaceIndex: index, group: group(7) });
      expect(addresses("link")).toContain(mac);
      groups.leave({ interfaceIndex: index, group: group(7) });
      expect(addresses("link")).not.toContain(mac);
    } finally {
      close();
    }
  });

  test("memberships of an interface that went can be left, and joined where it came back", () => {
    const { groups, index, members, pair, close } = open();
    try {
      groups.join({ interfaceIndex: index, group: group(1) });
      pair.ip(pair.speaker, "link", "delete", "eth0");
      groups.leave({ interfaceIndex: index, group: group(1) });
      pair.ip(pair.speaker, "link", "add", "eth0", "index", String(index), "type", "veth", "peer", "name", "eth0", "netns", pair.client);
      pair.ip(pair.speaker, "link", "set", "eth0", "up");
      groups.join({ interfaceIndex: index, group: group(1) });
      expect(members()).toEqual(["ff02::1:ffaa:1"]);
    } finally {
      close();
    }
  });
});
