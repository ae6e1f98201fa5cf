/**
 * The plain program that the controller is compared with: lists the Services, then gives each a status as fast as the API
 * server takes it, 32 in flight. It decides nothing, keeps nothing, writes no events, and ends.
 */
import { services } from "../kube/objects.ts";
import { systemClock } from "../sys/clock.ts";
import { connect, forAll } from "./cluster-load.ts";

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
        loadBalancer: { ingress: [{ ip: `172.16.${index >> 8}.${index & 255}`, ipMode: "VIP" }] },
        conditions: [{ type: "metallb.io/AddressAssigned", status: "True", reason: "Assigned", message: "assigned from pool bench", lastTransitionTime }],
      },
    },
    { subresource: "status" },
  ),
);
client.close();
