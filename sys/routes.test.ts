import { describe, expect, test } from "vitest";

import { makeVethPair, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import { inNetworkNamespace } from "./network-namespace.ts";
import { defaultGateways, parseIpv4Gateways, parseIpv6Gateways } from "./routes.ts";

const IPV4 = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth1\t00000000\t0200090A\t0003\t0\t0\t200\t00000000\t0\t0\t0
eth0\t00000000\t0100090A\t0003\t0\t0\t100\t00000000\t0\t0\t0
tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0
eth2\t00000000\t0300090A\t0003\t0\t0\t0\t00000080\t0\t0\t0
eth0\t0000090A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
`;
const zeros = "0".repeat(32);
const IPV6 = [
  `fd090000000000000000000000000000 40 ${zeros} 00 ${zeros} 00000100 00000001 00000000 00000001 eth0`,
  `${zeros} 00 ${zeros} 00 fe80000000000000000000000000abcd 00000400 00000001 00000000 00000003 eth0`,
  `${zeros} 00 ${zeros} 00 ${zeros} ffffffff 00000001 00000000 00200200 lo`,
  `${zeros} 01 ${zeros} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0`,
].join("\n");

test("of IPv4's routes those to everywhere by a gateway count, the lowest metric first", () => {
  expect(parseIpv4Gateways(IPV4, "little")).toEqual([
    { address: "10.9.0.1", interfaceName: "eth0", metric: 100 },
    { address: "10.9.0.2", interfaceName: "eth1", metric: 200 },
  ]);
  expect(parseIpv4Gateways(IPV4, "big")[0]?.address).toBe("1.0.9.10");
});

test("of IPv6's routes those to everywhere by a gateway count", () => {
  expect(parseIpv6Gateways(IPV6)).toEqual([{ address: "fe80::abcd", interfaceName: "eth0", metric: 0x400 }]);
});

test("a metric is 32 bits without a sign, though the kernel prints one for IPv4", () => {
  const line = (metric: string): string => `eth0\t00000000\t0100090A\t0003\t0\t0\t${metric}\t00000000`;
  expect(parseIpv4Gateways([line("-1"), line("100"), line("")].join("\n"), "little").map(({ metric }) => metric)).toEqual([100, 0xffff_ffff]);
});

test.each(["", "\n\n", "one", `${zeros} 00 ${zeros} 00 fe80000000000000000000000000abcd . 00000001 00000000 00000003 eth0`, "eth0\t00000000\t0100090A\t0003\t0\t0\tx\t00000000", "eth0\t00000000\tZZ00090A\t0003\t0\t0\t0\t00000000", `${zeros} 00 ${zeros} 00 fe80 1 1 1 3 eth0`])("%j is no gateway", (line) => {
  expect(parseIpv4Gateways(line, "little")).toEqual([]);
  expect(parseIpv6Gateways(line)).toEqual([]);
});

const why = whyNoNamespaces();
describe.skipIf(why !== undefined)(`routes, real${why === undefined ? "" : ` (${why})`}`, () => {
  test("the kernel's tables are read in the thread's own namespace", () => {
    const pair = makeVethPair("routes");
    try {
      const read = (): unknown => inNetworkNamespace(pair.speaker, () => [defaultGateways("IPv4"), defaultGateways("IPv6")]);
      expect(read()).toEqual([[], []]);
      pair.ip(pair.speaker, "address", "add", "10.9.0.2/24", "dev", "eth0");
      pair.ip(pair.speaker, "address", "add", "fd09::2/64", "dev", "eth0", "nodad");
      pair.ip(pair.speaker, "route", "add", "default", "via", "10.9.0.1", "metric", "50");
      pair.ip(pair.speaker, "-6", "route", "add", "default", "via", "fd09::1", "metric", "60");
      expect(read()).toEqual([[{ address: "10.9.0.1", interfaceName: "eth0", metric: 50 }], [{ address: "fd09::1", interfaceName: "eth0", metric: 60 }]]);
    } finally {
      pair.remove();
    }
  });
});
