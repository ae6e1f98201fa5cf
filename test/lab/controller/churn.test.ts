/**
 * 500 Services churn while everything breaks that can, and etcd's own revisions are the witness. HERALD_CHURN_SEED chooses
 * another order of events, HERALD_CHURN_SECONDS a longer run.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KubeClient } from "../../../kube/client.ts";
import { createKubeClient } from "../../../kube/http-client.ts";
import { ipAddressPools, namespaces, services } from "../../../kube/objects.ts";
import { systemClock } from "../../../sys/clock.ts";
import { type Random, seededRandom } from "../../../sys/random.ts";
import { type ApiServer, startApiServer } from "../../apiserver/api-server.ts";
import { findApiServerBinaries } from "../../apiserver/binaries.ts";
import { eventually } from "../eventually.ts";
import { pause } from "../poll.ts";
import { leaderOf, Replica } from "./churn/controllers.ts";
import { EtcdWatch } from "./churn/etcd-watch.ts";
import { Ledger } from "./churn/ledger.ts";
import { Users } from "./churn/users.ts";

const SEED = Number(process.env["HERALD_CHURN_SEED"] ?? 1);
const SECONDS = Number(process.env["HERALD_CHURN_SECONDS"] ?? 35);
const SERVICES = 500;
const CRDS = resolve(import.meta.dirname, "../../../crds");
/** Budget beside the churn itself: the start, and the time until all is calm. */
const BUDGET_MS = 300_000;
const POOLS = [
  { name: "main", addresses: ["172.30.0.0/22", "fd00:30::/112"], autoAssign: true, starts: ["172.30.", "fd00:30::"] },
  { name: "named", addresses: ["172.31.0.0/22", "fd00:31::/112"], autoAssign: false, starts: ["172.31.", "fd00:31::"] },
];

const found = findApiServerBinaries();

describe.skipIf(found.kind === "missing")(`500 Services churn${found.kind === "missing" ? ` (${found.reason})` : ""}`, () => {
  let server: ApiServer;
  let client: KubeClient & { close(): void };
  let watch: EtcdWatch;
  const ledger = new Ledger(POOLS);
  const replicas: Replica[] = [];

  beforeAll(async () => {
    server = await startApiServer({ serverArgs: ["--storage-media-type=application/json"] });
    const kubeConfig = new KubeConfig();
    kubeConfig.loadFromFile(server.kubeconfig);
    client = createKubeClient({ kubeConfig, userAgent: "herald-churn", clock: systemClock });
    for (const file of readdirSync(CRDS)) assert.equal((await server.kubectl(["apply", "--server-side", "-f", join(CRDS, file)])).code, 0, file);
    assert.equal((await server.kubectl(["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])).code, 0);
    await client.create(namespaces, { metadata: { name: "metallb-system" } });
    for (const { name, addresses, autoAssign } of POOLS) {
      await client.create(ipAddressPools, { apiVersion: "metallb.io/v1beta1", kind: "IPAddressPool", metadata: { namespace: "metallb-system", name }, spec: { addresses, autoAssign } });
    }
    watch = new EtcdWatch(server.etcdUrl, ({ revision, key, service }) => (service === undefined ? ledger.delete(key) : ledger.put(revision, key, service)));
    for (const [index, name] of ["churn-a", "churn-b"].entries()) replicas.push(new Replica({ name, server, client, random: seededRandom(1000 * SEED + index) }));
    for (const replica of replicas) await replica.start();
  }, BUDGET_MS);

  afterAll(async () => {
    for (const replica of replicas) await replica.stop();
    watch?.close();
    client?.close();
    await server?.stop();
  });

  test(`seed ${SEED}: no address is on two that may not share it, none is lost, none moves without cause, and in the end all have theirs`, async () => {
    const users = new Users({ client, random: seededRandom(SEED), services: SERVICES });
    await users.begin(SERVICES);
    for (const { proxy } of replicas) proxy.faults = true;
    const end = performance.now() + SECONDS * 1000;
    const isOver = (): boolean => performance.now() > end;
    const [misfortunes] = await Promise.all([misfortune(seededRandom(SEED + 500), isOver), users.churn(isOver)]);
    for (const { proxy } of replicas) proxy.faults = false;

    const calm = await eventually(async () => {
      assert.equal(watch.failure, undefined);
      assert.deepEqual(ledger.unfinished().slice(0, 5), []);
      const { items } = await client.list(services, { namespace: "default" });
      const shown = new Map(items.map(({ metadata, status }) => [`default/${metadata.name}`, (status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip)]));
      const known = new Map([...ledger.shown()].filter(([key]) => key.startsWith("default/churn-")));
      shown.delete("default/kubernetes");
      assert.deepEqual(Object.fromEntries(known), Object.fromEntries(shown), "etcd and the API server tell the same");
      return ledger.counts.revisions;
    }, { timeoutMs: 120_000, what: "all Services to have what they can have" }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${replicas.map((replica) => replica.lastWords()).join("\n")}`);
    });
    const faults = replicas.flatMap(({ proxy }) => [...proxy.counts]);
    console.log(`seed ${SEED}: ${JSON.stringify({ ...ledger.counts, misfortunes: Object.fromEntries(misfortunes), users: Object.fromEntries(users.counts), faults, starts: replicas.map(({ starts }) => starts) })}`);
    expect(ledger.violations).toEqual([]);
    // What was not tried was not shown.
    for (const what of ["leader killed", "API server restarted", "watches expired"]) expect(misfortunes.get(what) ?? 0, what).toBeGreaterThan(0);
    for (const kind of ["conflict", "tooMany", "broken", "lostAnswer", "slow", "watchCut"]) expect(faults.some(([name]) => name === kind), kind).toBe(true);
    expect(ledger.counts.given).toBeGreaterThan(SERVICES);
    await pause(3000);
    expect(ledger.counts.revisions, "all is calm: nobody writes").toBe(calm);
  }, BUDGET_MS + SECONDS * 1000);

  /** Kills, restarts and expires until it is over. @returns how often what happened. */
  async function misfortune(random: Random, isOver: () => boolean): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    const note = (what: string): void => void counts.set(what, (counts.get(what) ?? 0) + 1);
    for (let round = 0; !isOver(); round++) {
      await pause(1000 + random.next() * 3000);
      const draw = random.next();
      // One of each comes early in every run.
      if (round === 1 || draw < 0.1) {
        for (const { proxy } of replicas) proxy.expireWatches();
        note("watches expired");
      } else if (round === 3 || draw < 0.15) {
        await server.stopServer();
        await pause(random.next() * 1000);
        await server.startServer("answers");
        note("API server restarted");
      } else {
        const leader = await leaderOf(client);
        const killed = replicas.find(({ name }) => (name === leader) === draw < 0.9);
        if (leader === undefined || killed === undefined) continue;
        // Now and then the next one has to wait until the Lease runs out.
        killed.kill({ freesLease: random.next() < 0.85 });
        note(killed.name === leader ? "leader killed" : "standby killed");
      }
    }
    return counts;
  }
});
