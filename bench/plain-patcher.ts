/**
 * The plain program that the controller is compared with: lists the Services, then gives each a status as fast as the API
 * server takes it, 32 in flight. It decides nothing, keeps nothing, writes no events, and ends.
 * Usage: node plain-patcher.ts [FIRST], the IPv4 address that it begins with and counts up from; a /16's first.
 */
import { services } from "../kube/objects.ts";
import { systemClock } from "../sys/clock.ts";
import { connect, forAll } from "./cluster-load.ts";

const first = parseIpv4(process.argv[2] ?? "172.16.0.0");
const client = connect();
const { items } = await client.list(services);
const lastTransitionTime = new Date(systemClock.wallMs()).toISOString();
await forAll(items.filter(({ metadata }) => metadata.name.startsWith("bench-")), ({ metadata: { name, namespace = "" } }, index) =>
  client.patch(
    services,
    { namespace, name },
    {
      metadata: { annotations: { "metallb.io/ip-allocated-from-pool": "bench" } },
      status: {
        loadBalancer: { ingress: [{ ip: ipv4Text(first + index), ipMode: "VIP" }] },
        conditions: [{ type: "metallb.io/AddressAssigned", status: "True", reason: "Assigned", message: "assigned from pool bench", lastTransitionTime }],
      },
    },
    { subresource: "status" },
  ),
);
client.close();

function parseIpv4(text: string): number {
  return text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}

function ipv4Text(address: number): string {
  return [24, 16, 8, 0].map((bits) => (address >>> bits) & 255).join(".");
}
