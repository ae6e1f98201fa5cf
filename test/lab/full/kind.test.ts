import assert from "node:assert/strict";
import { afterAll, beforeAll, describe, test } from "vitest";
import { eventually } from "../eventually.ts";
import { labImage } from "../images.ts";
import { KindLab, checkKindPossible } from "./kind-lab.ts";
import { backends } from "./workloads.ts";

const WITHIN = { timeoutMs: 60_000 } as const;
const reason = await checkKindPossible().then(() => undefined, (error: unknown) => (error instanceof Error ? error.message : String(error)));

describe.skipIf(reason !== undefined)(`needs kind: Herald from its image and chart on kind's nodes${reason === undefined ? "" : ` (${reason})`}`, () => {
  let lab: KindLab;
  let pool: readonly [first: string, last: string];

  beforeAll(async () => {
    lab = await KindLab.up({ name: "herald-test", nodes: 3 });
    await lab.importImage(labImage("backend").archive);
    await lab.startHerald();
    // The upper end of Docker's network, which it gives out from the lower one.
    const node = await lab.kubectl(["get", "nodes", "-o", 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}']);
    const network = node.split(" ").find((address) => address.includes("."))?.split(".").slice(0, 2).join(".") ?? "";
    pool = [`${network}.255.200`, `${network}.255.250`];
  });
  afterAll(async () => lab?.down());

  /** MAC that the client has for an address after it asked for it anew. */
  async function macOf(address: string): Promise<string | undefined> {
    const ask = `ip neigh flush to ${address} dev eth0; curl -s -o /dev/null --max-time 1 http://${address}/; ip neigh show to ${address} dev eth0`;
    return /lladdr (\S+)/.exec((await lab.exec("client", ["sh", "-c", ask])).stdout)?.[1];
  }

  async function leaderOf(service: string): Promise<string | undefined> {
    const { items } = JSON.parse(await lab.kubectl(["get", "servicel2statuses", "-A", "-o", "json"])) as { items: { status?: { serviceName: string; node: string } }[] };
    const mine = items.filter(({ status }) => status?.serviceName === service);
    return mine.length === 1 ? mine[0]?.status?.node : undefined;
  }

  async function expectLeader(service: string, address: string, not?: string): Promise<string> {
    return await eventually(async () => {
      const leader = await leaderOf(service);
      assert.ok(leader !== undefined && leader !== not, `${leader} leads`);
      assert.equal(await macOf(address), await lab.nodeMac(leader), `the client has ${leader}'s MAC`);
      return leader;
    }, { ...WITHIN, what: `a leader of ${service} that answers` });
  }

  test("a Service gets an address of the pool, and its leader answers; when that loses its power another one does, and nothing moves at its return", async () => {
    const namespace = "metallb-system";
    const service = { apiVersion: "v1", kind: "Service", metadata: { name: "web", namespace: "default" }, spec: { type: "LoadBalancer", selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] } };
    await lab.apply(JSON.stringify({
      apiVersion: "v1",
      kind: "List",
      items: [
        { apiVersion: "metallb.io/v1beta1", kind: "IPAddressPool", metadata: { name: "pool", namespace }, spec: { addresses: [pool.join("-")] } },
        { apiVersion: "metallb.io/v1beta1", kind: "L2Advertisement", metadata: { name: "all", namespace }, spec: {} },
        backends("web", { replicas: 3 }),
        service,
      ],
    }));
    await lab.kubectl(["rollout", "status", "deployment/web", "--timeout=60s"]);
    const address = await eventually(async () => {
      const { status } = await lab.get("service", "default", "web") as { status: { loadBalancer: { ingress?: { ip: string }[] } } };
      assert.equal(status.loadBalancer.ingress?.[0]?.ip, pool[0]);
      return pool[0];
    }, { ...WITHIN, what: "an address" });
    const first = await expectLeader("web", address);
    await lab.powerOff(first);
    const second = await expectLeader("web", address, first);
    await lab.restore(first);
    await lab.kubectl(["wait", `node/${first}`, "--for=condition=Ready", "--timeout=120s"], { timeoutMs: 130_000 });
    assert.equal(await expectLeader("web", address), second);
  }, 300_000);
});
