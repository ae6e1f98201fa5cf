/**
 * Our client on a real API server: the same suite as its fake, and what only a real one shows.
 */
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clientCompliance } from "../../kube/client-compliance.ts";
import { EventRecorder, referenceTo } from "../../kube/event-recorder.ts";
import { createKubeClient } from "../../kube/http-client.ts";
import { Informer } from "../../kube/informer.ts";
import { LeaderElector } from "../../kube/lease.ts";
import { events, leases, nodes, services, type Lease } from "../../kube/objects.ts";
import { systemClock } from "../../sys/clock.ts";
import { silentLogger } from "../../sys/log.ts";
import { systemRandom } from "../../sys/random.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { findApiServerBinaries } from "./binaries.ts";

const found = findApiServerBinaries();
const missing = found.kind === "missing";

function connect(server: ApiServer): ReturnType<typeof createKubeClient> {
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromFile(server.kubeconfig);
  return createKubeClient({ kubeConfig, userAgent: "herald-test", clock: systemClock, requestTimeoutMs: 5_000 });
}

describe.skipIf(missing)(`on a real API server${missing ? ` (${found.reason})` : ""}`, () => {
  clientCompliance("HTTP", async () => {
    const server = await startApiServer();
    const client = connect(server);
    return {
      client,
      tearDown: async () => {
        client.close();
        await server.stop();
      },
    };
  });

  describe("a server that comes and goes", () => {
    let server: ApiServer | undefined;
    let client: ReturnType<typeof createKubeClient> | undefined;
    beforeAll(async () => {
      server = await startApiServer();
      client = connect(server);
    });
    afterAll(async () => {
      client?.close();
      await server?.stop();
    });

    test("a Lease passes from a candidate that stops to the next", async () => {
      if (client === undefined) throw new Error("not set up");
      const options = { client, clock: systemClock, random: systemRandom, log: silentLogger, namespace: "default", name: "elected" };
      const told: string[] = [];
      const elector = (identity: string): LeaderElector =>
        new LeaderElector({ ...options, identity, onStartedLeading: () => told.push(`${identity} started`), onStoppedLeading: (reason) => told.push(`${identity} ${reason}`) });
      const first = elector("a");
      const second = elector("b");
      first.start();
      await expect.poll(() => told).toEqual(["a started"]);
      second.start();
      await first.stop();
      expect((await client.get(leases, { namespace: "default", name: "elected" })).spec).toMatchObject({ holderIdentity: "", leaseDurationSeconds: 1 });
      await expect.poll(() => told, { timeout: 10_000 }).toEqual(["a started", "a released", "b started"]);
      await second.stop();
    });

    test("events of a Service and of a Node are taken, and counted on repeat", async () => {
      if (client === undefined) throw new Error("not set up");
      const recorder = new EventRecorder({ client, clock: systemClock, random: systemRandom, log: silentLogger, component: "metallb-controller", host: "pod" });
      const service = await client.create(services, { metadata: { namespace: "default", name: "svc" }, spec: { type: "LoadBalancer", ports: [{ port: 80 }] } });
      const body = { type: "Normal", reason: "Tested", message: "It was tested." } as const;
      recorder.event(referenceTo(services, service), body);
      recorder.event(referenceTo(nodes, await client.create(nodes, { metadata: { name: "n" } })), body);
      await recorder.flush();
      recorder.event(referenceTo(services, service), body);
      await recorder.flush();
      const { items } = await client.list(events, { namespace: "default", fieldSelector: "reason=Tested" });
      expect(Object.fromEntries(items.map(({ involvedObject, count }) => [involvedObject.kind, count]))).toEqual({ Service: 2, Node: 1 });
      expect(recorder.dropped).toBe(0);
    });

    test("a list longer than a page is whole, and an informer survives a restart", async () => {
      if (server === undefined || client === undefined) throw new Error("not set up");
      const api = client;
      const objects = Array.from({ length: 510 }, (_, index): Lease => ({ metadata: { namespace: "default", name: `lease-${index}` } }));
      await Promise.all(objects.map((object) => api.create(leases, object)));
      expect((await client.list(leases, { namespace: "default", fieldSelector: "metadata.name!=elected" })).items).toHaveLength(510);

      const told: string[] = [];
      const informer = new Informer({
        client,
        type: leases,
        namespace: "default",
        fieldSelector: "metadata.name!=elected",
        clock: systemClock,
        random: systemRandom,
        log: silentLogger,
        onChange: ({ kind, object }) => void told.push(`${kind} ${object.metadata.name}`),
      });
      informer.start();
      await informer.whenSynced();
      expect(told).toHaveLength(510);
      await server.stopServer();
      await expect(client.get(leases, { namespace: "default", name: "lease-1" })).rejects.toMatchObject({ code: 0, reason: "Unreachable" });
      expect(informer.list()).toHaveLength(510);
      await server.startServer();
      await client.delete(leases, { namespace: "default", name: "lease-7" });
      await expect.poll(() => told.slice(510), { timeout: 20_000 }).toEqual(["deleted lease-7"]);
      await informer.stop();
    }, 60_000);
  });
});
