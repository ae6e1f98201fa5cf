import { describe, expect, test } from "vitest";
import { FakeClock } from "../sys/fake-clock.ts";
import { silentLogger } from "../sys/log.ts";
import { seededRandom } from "../sys/random.ts";
import { KubeError } from "./client.ts";
import { FencedClient, LAST_WRITE_MS, WRITE_TIMEOUT_MS } from "./client-fence.ts";
import { FakeKubeClient } from "./fake-client.ts";
import { LEASE_TIMINGS } from "./lease-machine.ts";
import { LeaderElector } from "./lease.ts";
import { configurationStates, namespaces } from "./objects.ts";

const ns = { name: "default" };
const state = { metadata: { namespace: "default", name: "s" } };

function labels(client: FakeKubeClient): unknown {
  return client.peek(namespaces, ns)?.metadata.labels;
}

/** A leader whose Lease nobody else wants, with its fenced client. */
async function leader(): Promise<{ server: FakeKubeClient; clock: FakeClock; fenced: FencedClient; told: string[] }> {
  const server = new FakeKubeClient();
  const clock = new FakeClock();
  const told: string[] = [];
  server.put(namespaces, { metadata: ns });
  const elector = new LeaderElector({
    client: server, clock, random: seededRandom(1), log: silentLogger, namespace: "default", name: "lease", identity: "a",
    onStartedLeading: () => told.push("started"),
    onStoppedLeading: (reason) => told.push(reason),
  });
  const fenced = new FencedClient({ client: server, clock, mayWrite: () => elector.leadsFor(LAST_WRITE_MS) });
  elector.start();
  await clock.advance(0);
  return { server, clock, fenced, told };
}

describe("a leader's writes", () => {
  test("have time to end before the Lease may be another's, with as much for their way", () => {
    const { leaseDurationMs, renewDeadlineMs } = LEASE_TIMINGS;
    expect(renewDeadlineMs - LAST_WRITE_MS + 2 * WRITE_TIMEOUT_MS).toBeLessThanOrEqual(leaseDurationMs);
  });

  test("end a second before its deadline, of whatever kind", async () => {
    const { server, clock, fenced, told } = await leader();
    await clock.advance(10_000);
    await fenced.patch(namespaces, ns, { metadata: { labels: { at: "10" } } });
    // The last renewal was sent at 10 s; none succeeds from now on.
    server.failNext({ plural: "leases", times: 1000, error: new KubeError({ code: 500, reason: "InternalError", message: "etcd" }) });
    await clock.advance(8_999);
    await fenced.patch(namespaces, ns, { metadata: { labels: { at: "19" } } });
    await clock.advance(1);
    expect(told).toEqual(["started"]);
    const calls = [
      fenced.patch(namespaces, ns, { metadata: { labels: { at: "late" } } }),
      fenced.replace(namespaces, { metadata: { ...ns, labels: { at: "late" } } }),
      fenced.delete(namespaces, ns),
      fenced.create(configurationStates, state),
    ];
    for (const outcome of await Promise.allSettled(calls)) expect(outcome).toMatchObject({ status: "rejected", reason: { code: 0, reason: "NotSent" } });
    expect(labels(server)).toEqual({ at: "19" });
    expect(server.peek(configurationStates, state.metadata)).toBeUndefined();
    await clock.advance(1_000);
    expect(told).toEqual(["started", "lost"]);
  });

  test("that ended without an answer keep it from being quiet until their timeout, and others do not", async () => {
    const { server, clock, fenced } = await leader();
    server.failNext({ verb: "patch", plural: "namespaces", error: new KubeError({ code: 409, reason: "Conflict", message: "stale" }) });
    await expect(fenced.patch(namespaces, ns, {})).rejects.toMatchObject({ code: 409 });
    await fenced.quiet();
    server.failNext({ verb: "patch", plural: "namespaces", error: new KubeError({ code: 0, reason: "Unreachable", message: "cut" }) });
    await expect(fenced.patch(namespaces, ns, {}, { maySend: () => true })).rejects.toMatchObject({ code: 0 });
    let isQuiet = false;
    const quiet = fenced.quiet().then(() => (isQuiet = true));
    await clock.advance(WRITE_TIMEOUT_MS - 1);
    expect(isQuiet).toBe(false);
    await clock.advance(1);
    expect(await quiet).toBe(true);
  });
});
