import { execFileSync } from "node:child_process";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { makeVethPair, openClient, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import { FakeInterfaceAddresses } from "./interface-addresses-fake.ts";
import { MAX_WATCHED_INTERFACES, watchInterfaceAddresses } from "./interface-addresses.ts";
import type { InterfaceAddresses } from "./interface-addresses.ts";
import { inNetworkNamespace } from "./network-namespace.ts";

/** A host whose eth0 has 10.9.0.1/24, and a way to change that. */
interface Subject {
  readonly addresses: InterfaceAddresses;
  readonly index: number;
  add(text: string): void;
  remove(text: string): void;
  close(): void;
}

function suite(open: () => Subject): void {
  let subject: Subject;
  beforeEach(() => {
    subject = open();
  });
  afterEach(() => subject.close());

  const eth0 = (): readonly string[] =>
    subject.addresses.list().flatMap(({ interfaceIndex, address, prefixLength }) => (interfaceIndex === subject.index && !address.startsWith("fe80:") ? [`${address}/${prefixLength}`] : [])).toSorted();

  test("knows the addresses as soon as it is there, and gives the same list while nothing changes", () => {
    expect(eth0()).toEqual(["10.9.0.1/24"]);
    expect(subject.addresses.list()).toBe(subject.addresses.list());
  });

  test("sees addresses come and go", () => {
    subject.add("10.8.0.1/16");
    subject.add("10.9.0.7/32");
    subject.add("fd09::1/64");
    expect(eth0()).toEqual(["10.8.0.1/16", "10.9.0.1/24", "10.9.0.7/32", "fd09::1/64"]);
    subject.remove("10.8.0.1/16");
    subject.remove("fd09::1/64");
    subject.remove("10.9.0.7/32");
    expect(eth0()).toEqual(["10.9.0.1/24"]);
    subject.remove("10.9.0.1/24");
    expect(eth0()).toEqual([]);
  });

  test("knows those of the interfaces that are asked for, at once", () => {
    subject.addresses.watch([subject.index + 1]);
    subject.add("10.8.0.1/16");
    subject.addresses.watch([subject.index]);
    expect(eth0()).toEqual(["10.8.0.1/16", "10.9.0.1/24"]);
    subject.remove("10.8.0.1/16");
    subject.addresses.watch([subject.index, subject.index + 1]);
    subject.add("10.7.0.1/16");
    expect(eth0()).toEqual(["10.7.0.1/16", "10.9.0.1/24"]);
  });

  test("a closed one refuses to work, and closing again does nothing", () => {
    subject.addresses.close();
    subject.addresses.close();
    expect(() => subject.addresses.list()).toThrow("EBADF");
  });
}

describe("interface addresses, fake", () => {
  suite(() => {
    let texts = ["10.9.0.1/24"];
    const parsed = (): { interfaceIndex: number; address: string; prefixLength: number }[] =>
      texts.map((text) => ({ interfaceIndex: 2, address: text.split("/")[0] ?? "", prefixLength: Number(text.split("/")[1]) }));
    const addresses = new FakeInterfaceAddresses(parsed());
    const change = (next: string[]): void => {
      texts = next;
      addresses.set(parsed());
    };
    return { addresses, index: 2, add: (text) => change([...texts, text]), remove: (text) => change(texts.filter((other) => other !== text)), close: () => addresses.close() };
  });
});

const why = whyNoNamespaces();
describe.skipIf(why !== undefined)(`interface addresses, real${why === undefined ? "" : ` (${why})`}`, () => {
  const open = (): Subject & { readonly speaker: string } => {
    const pair = makeVethPair("addresses");
    const change = (verb: "add" | "delete", text: string): void => pair.ip(pair.speaker, "address", verb, text, "dev", "eth0");
    change("add", "10.9.0.1/24");
    const { socket, index } = openClient(pair.speaker);
    socket.close();
    const addresses = inNetworkNamespace(pair.speaker, watchInterfaceAddresses);
    return {
      speaker: pair.speaker,
      addresses,
      index,
      add: (text) => change("add", text),
      remove: (text) => change("delete", text),
      close() {
        addresses.close();
        pair.remove();
      },
    };
  };
  describe("as any", () => suite(open));

  test("of addresses of other interfaces none is heard, however many come and go", () => {
    const { addresses, speaker, close } = open();
    try {
      execFileSync("ip", ["-n", speaker, "link", "add", "ipvs0", "type", "veth", "peer", "name", "ipvs1"]);
      const change = (verb: string): void => {
        execFileSync("ip", ["-n", speaker, "-batch", "-"], { input: Array.from({ length: 2_000 }, (_, at) => `address ${verb} 10.10.${at >> 8}.${at & 0xff}/32 dev ipvs0\n`).join("") });
      };
      // An interface on which nothing happens: eth0 gets a link-local address about now.
      const quiet = 999;
      addresses.watch([quiet]);
      const before = addresses.list();
      expect(before).toEqual([]);
      change("add");
      expect(addresses.list()).toBe(before);
      change("delete");
      expect(addresses.list()).toBe(before);
      change("add");
      addresses.watch(Array.from({ length: MAX_WATCHED_INTERFACES + 1 }, (_, at) => 1_000 + at));
      expect(addresses.list().filter(({ address }) => address.startsWith("10.10."))).toHaveLength(2_000);
      addresses.watch([quiet]);
      const after = addresses.list();
      expect(after).toEqual([]);
      // What is watched already is not asked for again, when an interface goes down and comes back.
      addresses.watch([]);
      addresses.watch([quiet]);
      expect(addresses.list()).toBe(after);
    } finally {
      close();
    }
  });

  test("a long list comes whole, and so it does when events were lost", () => {
    const { addresses, index, speaker, close } = open();
    try {
      const count = 2_000;
      const batch = Array.from({ length: count }, (_, at) => `10.10.${at >> 8}.${at & 0xff}/32`);
      expect(addresses.list().filter(({ interfaceIndex, address }) => interfaceIndex === index && !address.includes(":"))).toHaveLength(1);
      execFileSync("ip", ["-n", speaker, "-batch", "-"], { input: batch.map((text) => `address add ${text} dev eth0\n`).join("") });
      expect(addresses.list().filter(({ address }) => address.startsWith("10.10."))).toHaveLength(count);
    } finally {
      close();
    }
  });
});
