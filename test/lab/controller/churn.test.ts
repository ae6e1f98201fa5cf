/**
 * 500 Services churn and pools change while everything breaks that can, and etcd's own revisions are the witness.
 * HERALD_CHURN_SEED chooses another order of events, HERALD_CHURN_SECONDS a longer run.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { KubeClient } from "../../../kube/client.ts";
import { createKubeClient } from "../../../kube/http-client.ts";
import { type CustomResource, namespaces, type Service, services } from "../../../kube/objects.ts";
import { systemClock } from "../../../sys/clock.ts";
import { type Random, seededRandom } from "../../../sys/random.ts";
import { type ApiServer, startApiServer } from "../../apiserver/api-server.ts";
import { findApiServerBinaries } from "../../apiserver/binaries.ts";
import { eventually } from "../eventually.ts";
import { pause } from "../poll.ts";
import { leaderOf, Replica } from "./churn/controllers.ts";
import { EtcdWatch, type Revision } from "./churn/etcd-watch.ts";
import { Ledger } from "./churn/ledger.ts";
import type { PoolSpec } from "./churn/pool-book.ts";
import { CHANGES, PoolKeeper } from "./churn/pool-keeper.ts";
import { Users } from "./churn/users.ts";

const SEED = Number(process.env["HERALD_CHURN_SEED"] ?? 1);
const SECONDS = Number(process.env["HERALD_CHURN_SECONDS"] ?? 25);
/** On a busy machine it goes on until everything has happened once, for so much longer at most (milliseconds). */
const PATIENCE_MS = 180_000;
const MISFORTUNES = ["leader killed", "leader paused", "API server restarted", "watches expired"];
/** Long enough for another to lead meanwhile (milliseconds). */
const PAUSE_MS = 17_000;
const FAULTS = ["conflict", "tooMany", "broken", "lostAnswer", "slow", "watchCut"];
const SERVICES = 500;
const CRDS = resolve(import.meta.dirname, "../../../crds");
/** Budget beside the churn itself: the start, and the time until all is calm. */
const BUDGET_MS = 300_000;
/** Namespaces whose label "team" changes, and with it whether a pool admits them. */
const TEAMS = ["team-a", "team-b"];
const NAMESPACES = ["default", ...TEAMS];

const found = findApiServerBinaries();

describe.skipIf(found.kind === "missing")(`500 Services churn${found.kind === "missing" ? ` (${found.reason})` : ""}`, () => {
  let server: ApiServer;
  let client: KubeClient & { close(): void };
  let watch: EtcdWatch;
  let keeper: PoolKeeper;
  const ledger = new Ledger(() => performance.now());
  const replicas: Replica[] = [];

  beforeAll(async () => {
    server = await startApiServer({ serverArgs: ["--storage-media-type=application/json"] });
    const kubeConfig = new KubeConfig();
    kubeConfig.loadFromFile(server.kubeconfig);
    client = createKubeClient({ kubeConfig, userAgent: "herald-churn", clock: systemClock });
    for (const file of readdirSync(CRDS)) assert.equal((await server.kubectl(["apply", "--server-side", "-f", join(CRDS, file)])).code, 0, file);
    assert.equal((await server.kubectl(["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])).code, 0);
    for (const name of ["metallb-system", ...TEAMS]) await client.create(namespaces, { metadata: { name, labels: name === "team-a" ? { team: "blue" } : {} } });
    keeper = new PoolKeeper({ client, random: seededRandom(SEED + 900), teams: TEAMS });
    await keeper.restore();
    watch = new EtcdWatch(server.etcdUrl, (revision) => enter(ledger, revision));
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
    const users = new Users({ client, random: seededRandom(SEED), services: SERVICES, namespaces: NAMESPACES });
    await users.begin(SERVICES);
    for (const { proxy } of replicas) proxy.faults = true;
    const end = performance.now() + SECONDS * 1000;
    const misfortunes = new Map<string, number>();
    const missing = (): string[] => {
      const seen = new Set([...misfortunes.keys(), ...replicas.flatMap(({ proxy }) => [...proxy.counts.keys()]), ...keeper.counts.keys()]);
      const lack = ledger.counts.forced === 0 ? ["an address taken by a change of pools"] : [];
      return [...MISFORTUNES, ...FAULTS, ...CHANGES].filter((what) => !seen.has(what)).concat(lack);
    };
    const isOver = (): boolean => performance.now() > end && (missing().length === 0 || performance.now() > end + PATIENCE_MS);
    await Promise.all([misfortune(seededRandom(SEED + 500), isOver, misfortunes), users.churn(isOver), keeper.keepBusy(isOver)]);
    for (const { proxy } of replicas) proxy.faults = false;
    await keeper.restore();

    const calm = await eventually(async () => {
      assert.equal(watch.failure, undefined);
      assert.deepEqual(ledger.unfinished().slice(0, 5), []);
      const { items } = await client.list(services);
      const shown = new Map(items.map(({ metadata, status }) => [`${metadata.namespace}/${metadata.name}`, (status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip)]));
      const known = new Map([...ledger.shown()].filter(([key]) => key !== "default/kubernetes"));
      shown.delete("default/kubernetes");
      assert.deepEqual(Object.fromEntries(known), Object.fromEntries(shown), "etcd and the API server tell the same");
      return ledger.counts.revisions;
    }, { timeoutMs: 120_000, what: "all Services to have what they can have" }).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${replicas.map((replica) => replica.lastWords()).join("\n")}`);
    });
    const faults = replicas.flatMap(({ proxy }) => [...proxy.counts]);
    console.log(`seed ${SEED}: ${JSON.stringify({ ...ledger.counts, misfortunes: Object.fromEntries(misfortunes), users: Object.fromEntries(users.counts), pools: Object.fromEntries(keeper.counts), faults, starts: replicas.map(({ starts }) => starts) })}`);
    expect(ledger.violations).toEqual([]);
    // What was not tried was not shown.
    expect(missing()).toEqual([]);
    expect(ledger.counts.given).toBeGreaterThan(SERVICES);
    await pause(3000);
    expect(ledger.counts.revisions, "all is calm: nobody writes").toBe(calm);
  }, BUDGET_MS + PATIENCE_MS + SECONDS * 1000);

  /** Kills, restarts and expires until it is over; counts how often what happened. */
  async function misfortune(random: Random, isOver: () => boolean, counts: Map<string, number>): Promise<void> {
    const note = (what: string): void => void counts.set(what, (counts.get(what) ?? 0) + 1);
    let paused: Replica | undefined;
    for (let round = 0; !isOver(); round++) {
      await pause(1000 + random.next() * 3000);
      const draw = random.next();
      if (round >= 2 && !counts.has("leader paused") && paused === undefined) {
        const leader = await leaderOf(client);
        paused = replicas.find(({ name }) => name === leader);
        void paused?.pause(PAUSE_MS).then(() => note("leader paused"));
      }
      // One of each comes early in every run.
      if ((round >= 1 && !counts.has("watches expired")) || draw < 0.1) {
        for (const { proxy } of replicas) proxy.expireWatches();
        note("watches expired");
      } else if ((round >= 3 && !counts.has("API server restarted")) || draw < 0.15) {
        await server.stopServer();
        await pause(random.next() * 1000);
        await server.startServer("answers");
        note("API server restarted");
      } else {
        const leader = await leaderOf(client);
        const killed = replicas.find(({ name }) => (name === leader) === draw < 0.9);
        if (leader === undefined || killed === undefined || (killed === paused && !counts.has("leader paused"))) continue;
        // Now and then the next one has to wait until the Lease runs out.
        killed.kill({ freesLease: random.next() < 0.85 });
        note(killed.name === leader ? "leader killed" : "standby killed");
      }
    }
  }
});

/** What etcd tells, into the book. */
function enter(ledger: Ledger, { revision, kind, key, object }: Revision): void {
  // Etcd keeps each kind below its own keys.
  if (kind === "pool") ledger.putPool(key.slice(key.indexOf("/") + 1), (object as CustomResource | undefined)?.spec as PoolSpec | undefined);
  else if (kind === "namespace") ledger.putNamespace(key, object === undefined ? undefined : (object.metadata.labels ?? {}));
  else if (object === undefined) ledger.delete(key);
  else ledger.put(revision, key, object as Service);
}
