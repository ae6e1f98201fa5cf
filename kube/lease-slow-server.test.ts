/** An API server that needs longer for a write than a leader's writes to Services may take. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { expect, test } from "vitest";
import { systemClock as clock } from "../sys/clock.ts";
import { silentLogger } from "../sys/log.ts";
import { seededRandom } from "../sys/random.ts";
import { FencedClient } from "./client-fence.ts";
import { createKubeClient } from "./http-client.ts";
import { LeaderElector } from "./lease.ts";
import { namespaces } from "./objects.ts";

/** This API server has no time for a write that gives it less. */
const NEEDED_MS = 8_500;

test("the Lease is had and kept by an API server that is too slow for the leader's other writes", async () => {
  const server = createServer((request, response) => {
    request.resume();
    if (request.method === "GET") return void response.writeHead(404).end(JSON.stringify({ reason: "NotFound" }));
    const timeout = /[?&]timeout=(\d+)ms/.exec(request.url ?? "")?.[1];
    if (timeout !== undefined && Number(timeout) < NEEDED_MS) return void response.writeHead(504).end(JSON.stringify({ reason: "Timeout" }));
    response.end(JSON.stringify({ metadata: { name: "lease", resourceVersion: "1" }, spec: { holderIdentity: "a", leaseDurationSeconds: 15 } }));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromClusterAndUser({ name: "c", server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, skipTLSVerify: true }, { name: "u", token: "t" });
  // As the controller makes it.
  const client = createKubeClient({ kubeConfig, userAgent: "test/1", clock });
  const elector: LeaderElector = new LeaderElector({ client, clock, random: seededRandom(1), log: silentLogger, namespace: "default", name: "lease", identity: "a", onStartedLeading() {}, onStoppedLeading() {} });
  const fenced = new FencedClient({ client, clock, leadsFor: (ms) => elector.leadsFor(ms) });
  try {
    elector.start();
    await expect.poll(() => elector.isLeader, { timeout: 15_000 }).toBe(true);
    await expect(fenced.patch(namespaces, { name: "n" }, {})).rejects.toMatchObject({ code: 504 });
  } finally {
    await elector.stop();
    client.close();
    server.close();
  }
});
