import { execFileSync } from "node:child_process";
import { readdirSync, readlinkSync } from "node:fs";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { makeVethPair, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import type { IpFamily } from "../wire/ip-address.ts";
import { FakeGatewayMonitor } from "./gateway-monitor-fake.ts";
import { MAX_GATEWAYS, watchGateways } from "./gateway-monitor.ts";
import type { Gateway, GatewayMonitor } from "./gateway-monitor.ts";
import { receive } from "./libc.ts";
import { inNetworkNamespace } from "./network-namespace.ts";
import { defaultGateways } from "./routes.ts";

/** A host with eth0, on which hosts number 0 to 255 are, and a way to change its default routes. */
interface Subject {
  readonly monitor: GatewayMonitor;
  add(host: number, metric: number): void;
  remove(host: number, metric: number): void;
  /** Puts a host in the place of the one that has the metric. */
  replace(host: number, metric: number): void;
  close(): void;
}

/** Updates needed until there is nothing more to take in. */
function take(monitor: GatewayMonitor): number {
  for (let updates = 1; updates < 10_000; updates++) if (!monitor.update()) return updates;
  throw new Error("there is always more");
}

/** Takes in what waits and, while something is in doubt, all there is. */
function settle(monitor: GatewayMonitor): void {
  take(monitor);
  for (let times = 0; monitor.isInDoubt; times++) {
    if (times > 10) throw new Error("it stays in doubt");
    monitor.refresh();
    take(monitor);
  }
}

/** The gateways as "host metric", the host being the last number of the address. */
function told(gateways: readonly Gateway[]): string[] {
  return gateways.map(({ address, metric }) => `${Number.parseInt(address.split(/[.:]/).at(-1) ?? "", 16)} ${metric}`);
}

function isSocket(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).startsWith("socket:");
  } catch {
    // The listing had a descriptor of its own.
    return false;
  }
}

function suite(open: () => Subject): void {
  let subject: Subject;
  beforeEach(() => {
    subject = open();
  });
  afterEach(() => subject.close());

  const gateways = (): string[] => {
    take(subject.monitor);
    return told(subject.monitor.gateways());
  };

  test("knows what there is, the lowest metric first, and sees routes come, change and go", () => {
    expect(gateways()).toEqual(["1 100"]);
    subject.add(2, 50);
    expect(gateways()).toEqual(["2 50", "1 100"]);
    subject.replace(3, 100);
    expect(gateways()).toEqual(["2 50", "3 100"]);
    subject.remove(2, 50);
    expect(gateways()).toEqual(["3 100"]);
    subject.remove(3, 100);
    subject.add(3, 400);
    subject.add(4, 300);
    expect(gateways()).toEqual(["4 300", "3 400"]);
    settle(subject.monitor);
    expect(gateways()).toEqual(["4 300", "3 400"]);
  });

  test("asking for everything changes nothing when nothing did", () => {
    expect(gateways()).toEqual(["1 100"]);
    for (let times = 0; times < 3; times++) {
      subject.monitor.refresh();
      expect(gateways()).toEqual(["1 100"]);
    }
    expect(subject.monitor.isInDoubt).toBe(false);
  });

  test("a closed one refuses to work, and closing again does nothing", () => {
    subject.monitor.close();
    subject.monitor.close();
    expect(() => subject.monitor.update()).toThrow("EBADF");
  });
}

/** Lines of `ip -batch` about so many routes that are no default ones. */
function otherRoutes(verb: "add" | "delete", count: number): string[] {
  return Array.from({ length: count }, (_, at) => `route ${verb} fd10:${at.toString(16)}::/64 via fd09::3 dev eth0`);
}

describe("gateways, fake", () => {
  suite(() => {
    const monitor = new FakeGatewayMonitor();
    let known: Gateway[] = [];
    const change = (removed: (gateway: Gateway) => boolean, ...added: Gateway[]): void => {
      known = [...known.filter((gateway) => !removed(gateway)), ...added];
      monitor.set(known);
    };
    const gateway = (host: number, metric: number): Gateway => ({ address: `10.9.0.${host}`, via: "eth0", metric });
    change(() => false, gateway(1, 100));
    return {
      monitor,
      add: (host, metric) => change(() => false, gateway(host, metric)),
      remove: (host, metric) => change((other) => other.metric === metric && other.address === gateway(host, metric).address),
      replace: (host, metric) => change((other) => other.metric === metric, gateway(host, metric)),
      close: () => monitor.close(),
    };
  });
});

const why = whyNoNamespaces();
describe.skipIf(why !== undefined)(`gateways, real${why === undefined ? "" : ` (${why})`}`, () => {
  interface RealSubject extends Subject {
    readonly speaker: string;
    /** Runs `ip ARGS` in the namespace, for the family. */
    ip(...args: readonly string[]): void;
    /** Runs many of them: what comes after "ip". */
    batch(lines: readonly string[]): void;
  }

  const open = (family: IpFamily, before: (subject: Omit<RealSubject, "monitor">) => void = () => {}): RealSubject => {
    const pair = makeVethPair("gateways");
    const flag = family === "IPv4" ? "-4" : "-6";
    const ip = (...args: readonly string[]): void => pair.ip(pair.speaker, flag, ...args);
    const batch = (lines: readonly string[]): void => {
      execFileSync("ip", [flag, "-n", pair.speaker, "-batch", "-"], { input: lines.join("\n") });
    };
    const change = (verb: string, host: number, metric: number): void => ip("route", verb, "default", "via", family === "IPv4" ? `10.9.0.${host}` : `fd09::${host}`, "dev", "eth0", "metric", `${metric}`);
    if (family === "IPv4") ip("address", "add", "10.9.0.200/24", "dev", "eth0");
    else ip("address", "add", "fd09::200/64", "dev", "eth0", "nodad");
    change("add", 1, 100);
    const subject = {
      speaker: pair.speaker,
      ip,
      batch,
      add: (host: number, metric: number) => change("add", host, metric),
      remove: (host: number, metric: number) => change("delete", host, metric),
      replace: (host: number, metric: number) => change("replace", host, metric),
      close: () => pair.remove(),
    };
    before(subject);
    const monitor = inNetworkNamespace(pair.speaker, () => {
      const watched = watchGateways(family);
      watched.update();
      return watched;
    });
    // Where the table is read, or a socket made anew, it is that of the thread that does it.
    const update = (): boolean => inNetworkNamespace(pair.speaker, () => monitor.update());
    const inside: GatewayMonitor = {
      get isInDoubt() {
        return monitor.isInDoubt;
      },
      gateways: () => monitor.gateways(),
      update,
      refresh: () => inNetworkNamespace(pair.speaker, () => monitor.refresh()),
      close: () => monitor.close(),
    };
    return {
      ...subject,
      monitor: inside,
      close() {
        monitor.close();
        pair.remove();
      },
    };
  };

  describe.each<IpFamily>(["IPv4", "IPv6"])("%s", (family) => suite(() => open(family)));

  test("the interface is told by its index where netlink tells", () => {
    const { monitor, close } = open("IPv6");
    try {
      expect(monitor.gateways()).toEqual([{ address: "fd09::1", via: expect.any(Number), metric: 100 }]);
    } finally {
      close();
    }
  });

  test("of several next hops each is known, and they go together", () => {
    const { monitor, ip, close } = open("IPv6");
    try {
      const hops = ["nexthop", "via", "fd09::2", "dev", "eth0", "nexthop", "via", "fd09::3", "dev", "eth0"];
      ip("route", "add", "default", "metric", "50", ...hops);
      take(monitor);
      expect(told(monitor.gateways())).toEqual(["2 50", "3 50", "1 100"]);
      settle(monitor);
      expect(told(monitor.gateways())).toEqual(["2 50", "3 50", "1 100"]);
      ip("route", "delete", "default", "metric", "50", ...hops);
      take(monitor);
      expect(told(monitor.gateways())).toEqual(["1 100"]);
    } finally {
      close();
    }
  });

  test("a route that takes the place of several, or leads nowhere, leaves none of them", () => {
    const { monitor, ip, speaker, close } = open("IPv6", ({ add }) => add(2, 60));
    try {
      ip("route", "append", "default", "via", "fd09::7", "dev", "eth0", "metric", "100");
      take(monitor);
      expect(told(monitor.gateways())).toEqual(["2 60", "1 100", "7 100"]);
      ip("route", "replace", "unreachable", "default", "metric", "60");
      ip("route", "replace", "default", "via", "fd09::9", "dev", "eth0", "metric", "100");
      settle(monitor);
      expect(told(monitor.gateways())).toEqual(inNetworkNamespace(speaker, () => told(defaultGateways("IPv6").map((known) => ({ ...known, via: 0 })))));
      expect(told(monitor.gateways())).toContain("9 100");
    } finally {
      close();
    }
  });

  test("when the interface goes down its gateways go, also when the kernel does not tell of them", () => {
    for (const isTold of [true, false]) {
      const { monitor, ip, speaker, close } = open("IPv6", ({ add }) => add(2, 60));
      try {
        if (!isTold) execFileSync("ip", ["netns", "exec", speaker, "sysctl", "-qw", "net.ipv6.route.skip_notify_on_dev_down=1"]);
        expect(told(monitor.gateways())).toEqual(["2 60", "1 100"]);
        ip("link", "set", "eth0", "down");
        if (!isTold) monitor.refresh();
        settle(monitor);
        expect([isTold, monitor.gateways()]).toEqual([isTold, []]);
      } finally {
        close();
      }
    }
  });

  test("default routes of other tables, of some sources, and to a device are none", () => {
    const { monitor, ip, close } = open("IPv6", ({ ip: before }) => before("route", "add", "default", "via", "fd09::5", "dev", "eth0", "table", "100"));
    try {
      ip("route", "add", "default", "via", "fd09::6", "dev", "eth0", "table", "1000", "metric", "5");
      ip("route", "add", "default", "dev", "eth0", "metric", "6");
      settle(monitor);
      expect(told(monitor.gateways())).toEqual(["1 100"]);
    } finally {
      close();
    }
  });

  test("20,000 other routes: the gateway is known, each update takes few of them, and of their coming and going none is heard", () => {
    const count = 20_000;
    const { monitor, batch, replace, close } = open("IPv6", ({ batch: before }) => before(otherRoutes("add", count)));
    try {
      expect(told(monitor.gateways())).toEqual(["1 100"]);
      monitor.refresh();
      // The kernel answers with 32 KiB at most, and a route takes over 100 bytes.
      expect(take(monitor)).toBeGreaterThan((count * 100) / (32 * 1024));
      batch(otherRoutes("delete", count));
      expect([take(monitor), monitor.isInDoubt]).toEqual([1, false]);
      batch(otherRoutes("add", count));
      expect([take(monitor), monitor.isInDoubt]).toEqual([1, false]);
      replace(2, 100);
      take(monitor);
      expect(told(monitor.gateways())).toEqual(["2 100"]);
    } finally {
      close();
    }
  });

  test("a dump that passes over the gateway, since other routes went and came meanwhile, does not lose it", () => {
    const count = 4_000;
    const { monitor, batch, close } = open("IPv6", ({ batch: before }) => before(otherRoutes("add", count)));
    try {
      monitor.refresh();
      for (let updates = 0; updates < 8; updates++) monitor.update();
      // The kernel goes on after as many routes as it has told, of those that are left.
      batch([...otherRoutes("delete", count).slice(0, count - 100), "route add fd11::/64 via fd09::3 dev eth0"]);
      take(monitor);
      expect(told(monitor.gateways())).toEqual(["1 100"]);
      settle(monitor);
      expect(told(monitor.gateways())).toEqual(["1 100"]);
    } finally {
      close();
    }
  });

  test("a dump that ends without its last word is asked for anew, and what was known stays until then", () => {
    const sockets = (): number[] => readdirSync("/proc/self/fd").map(Number);
    const before = new Set(sockets());
    const { monitor, close, add } = open("IPv6");
    try {
      const [fd = -1] = sockets().filter((each) => !before.has(each) && isSocket(each));
      expect(fd).toBeGreaterThan(0);
      add(2, 50);
      monitor.refresh();
      const buffer = new Uint8Array(64 * 1024);
      while (receive(fd, buffer) !== undefined);
      expect([take(monitor), monitor.isInDoubt, told(monitor.gateways())]).toEqual([1, true, ["1 100"]]);
      settle(monitor);
      expect(told(monitor.gateways())).toEqual(["2 50", "1 100"]);
    } finally {
      close();
    }
  });

  test("many default routes that come at once, more than the socket has room for: no more than are remembered, and the end is right", () => {
    const lines = (verb: string): string[] => Array.from({ length: 12 * MAX_GATEWAYS }, (_, at) => `route ${verb} default via fd09::1:${at.toString(16)} dev eth0 metric ${200 + at}`);
    const { monitor, batch, close } = open("IPv6");
    try {
      batch(lines("add"));
      settle(monitor);
      expect(monitor.gateways()).toHaveLength(MAX_GATEWAYS);
      expect(monitor.gateways()[0]?.address).toBe("fd09::1");
      batch(lines("delete"));
      settle(monitor);
      expect(told(monitor.gateways())).toEqual(["1 100"]);
    } finally {
      close();
    }
  });
});
