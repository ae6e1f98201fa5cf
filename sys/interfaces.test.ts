import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { makeVethPair, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import type { VethPair } from "../test/netns/veth-pair.ts";
import { FakeInterfaceMonitor } from "./interfaces-fake.ts";
import { watchInterfaces } from "./interfaces.ts";
import type { InterfaceMonitor, Link } from "./interfaces.ts";
import { inNetworkNamespace } from "./network-namespace.ts";
import { createPoller } from "./poll.ts";

/** A door with one interface, eth0, and a way to change it. */
interface Subject {
  readonly monitor: InterfaceMonitor;
  setUp(isUp: boolean): void;
  setAddress(mac: string): void;
  setLinkLocal(address: string, isThere: boolean): void;
  remove(): void;
  close(): void;
}

function suite(open: () => Subject): void {
  let subject: Subject;
  beforeEach(() => {
    subject = open();
  });
  afterEach(() => subject.close());

  const eth0 = (): Link | undefined => subject.monitor.links().find(({ name }) => name === "eth0");
  const until = async (check: () => void): Promise<void> => {
    let changed = false;
    await vi.waitFor(
      () => {
        changed = subject.monitor.update() || changed;
        check();
      },
      { timeout: 15_000, interval: 5 },
    );
    expect(changed).toBe(true);
  };

  test("knows the interfaces as soon as it is there", () => {
    expect(eth0()).toMatchObject({ up: true, carrier: true, broadcast: true, noArp: false });
    expect(eth0()?.mac).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
  });

  test("sees an interface go down and come up", async () => {
    subject.setUp(false);
    await until(() => expect(eth0()).toMatchObject({ up: false, carrier: false }));
    subject.setUp(true);
    await until(() => expect(eth0()).toMatchObject({ up: true, carrier: true }));
  });

  test("sees a change of the MAC", async () => {
    subject.setAddress("02:00:00:00:00:77");
    await until(() => expect(eth0()?.mac).toBe("02:00:00:00:00:77"));
  });

  test("sees a link-local address come and go; the first of several counts", async () => {
    expect(eth0()?.linkLocal).toBeUndefined();
    subject.setLinkLocal("fe80::1:1", true);
    await until(() => expect(eth0()?.linkLocal).toBe("fe80::1:1"));
    subject.setLinkLocal("fe80::1:2", true);
    subject.setLinkLocal("fe80::1:1", false);
    await until(() => expect(eth0()?.linkLocal).toBe("fe80::1:2"));
    subject.setLinkLocal("fe80::1:2", false);
    await until(() => expect(eth0()?.linkLocal).toBeUndefined());
  });

  test("sees an interface go for good", async () => {
    subject.remove();
    await until(() => expect(eth0()).toBeUndefined());
  });

  test("an update without news says so", () => {
    expect(subject.monitor.update()).toBe(false);
  });

  test("the end of a refresh is news, once", async () => {
    const before = subject.monitor.links();
    subject.monitor.refresh();
    await until(() => expect(subject.monitor.links()).toEqual(before));
    expect(subject.monitor.update()).toBe(false);
  });
}

describe("interfaces, fake", () => {
  suite(() => {
    let link = { index: 2, name: "eth0", up: true, carrier: true, broadcast: true, noArp: false, mac: "02:00:00:00:00:0a" } as Link;
    const monitor = new FakeInterfaceMonitor([link]);
    const linkLocals = new Set<string>();
    const change = (fields: Partial<Link>): void => {
      link = { ...link, ...fields };
      const [linkLocal] = linkLocals;
      monitor.set([linkLocal === undefined ? link : { ...link, linkLocal }]);
    };
    return {
      monitor,
      setUp: (isUp) => change({ up: isUp, carrier: isUp }),
      setAddress: (mac) => change({ mac: mac as NonNullable<Link["mac"]> }),
      setLinkLocal(address, isThere) {
        if (isThere) linkLocals.add(address);
        else linkLocals.delete(address);
        change({});
      },
      remove: () => monitor.set([]),
      close: () => monitor.close(),
    };
  });
});

const why = whyNoNamespaces();
describe.skipIf(why !== undefined)(`interfaces, real${why === undefined ? "" : ` (${why})`}`, () => {
  let pair: VethPair;
  let monitor: InterfaceMonitor;
  const open = (): Subject => {
    pair = makeVethPair("links");
    // The kernel would give eth0 a link-local address of its own, in its own time.
    pair.ip(pair.speaker, "link", "set", "eth0", "addrgenmode", "none");
    pair.ip(pair.speaker, "-6", "address", "flush", "dev", "eth0");
    monitor = inNetworkNamespace(pair.speaker, watchInterfaces);
    // What the set-up itself still stirs (a carrier that comes late) is no news to the tests.
    const poller = createPoller();
    poller.add(monitor.fd);
    while (poller.wait(50).length > 0) monitor.update();
    return {
      monitor,
      setUp: (isUp) => pair.ip(pair.speaker, "link", "set", "eth0", isUp ? "up" : "down"),
      setAddress: (mac) => pair.ip(pair.speaker, "link", "set", "eth0", "address", mac),
      setLinkLocal: (address, isThere) => pair.ip(pair.speaker, "address", isThere ? "add" : "delete", `${address}/64`, "dev", "eth0", ...(isThere ? ["nodad"] : [])),
      remove: () => pair.ip(pair.speaker, "link", "delete", "eth0"),
      close() {
        monitor.close();
        pair.remove();
      },
    };
  };
  describe("as any", () => suite(open));

  test("a link that was down and is up again shows both", () => {
    const { setUp, close } = open();
    try {
      setUp(false);
      setUp(true);
      const seen: (boolean | undefined)[] = [];
      while (monitor.update()) seen.push(monitor.links().find(({ name }) => name === "eth0")?.up);
      expect(seen[0]).toBe(false);
      expect(seen.at(-1)).toBe(true);
    } finally {
      close();
    }
  });

  test("a link that was removed and made again under the same index shows both", () => {
    const { close } = open();
    const make = (): void => pair.ip(pair.speaker, "link", "add", "again0", "index", "77", "address", "02:00:00:00:00:77", "up", "type", "bridge");
    try {
      make();
      while (monitor.update());
      pair.ip(pair.speaker, "link", "delete", "again0");
      make();
      const seen: boolean[] = [];
      while (monitor.update()) seen.push(monitor.links().some(({ index }) => index === 77));
      expect(seen).toContain(false);
      expect(seen.at(-1)).toBe(true);
    } finally {
      close();
    }
  });

  test("a long dump comes whole, and a bridge port is enslaved until it leaves", () => {
    const { close } = open();
    try {
      for (let index = 0; index < 40; index++) pair.ip(pair.speaker, "link", "add", `br${index}`, "type", "bridge");
      const second = inNetworkNamespace(pair.speaker, watchInterfaces);
      expect(second.links().filter(({ name }) => name.startsWith("br"))).toHaveLength(40);
      second.close();
      pair.ip(pair.speaker, "link", "set", "eth0", "master", "br0");
      while (monitor.update());
      const links = monitor.links();
      expect(links.find(({ name }) => name === "eth0")?.master).toBe(links.find(({ name }) => name === "br0")?.index);
      pair.ip(pair.speaker, "link", "set", "eth0", "nomaster");
      while (monitor.update());
      expect(monitor.links().find(({ name }) => name === "eth0")?.master).toBeUndefined();
    } finally {
      close();
    }
  });
});
