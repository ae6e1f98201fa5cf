import { describe, expect, test } from "vitest";
import { sleep } from "../sys/clock.ts";
import { FakeClock } from "../sys/fake-clock.ts";
import { silentLogger } from "../sys/log.ts";
import { seededRandom } from "../sys/random.ts";
import { KubeError } from "./client.ts";
import { FencedClient, LAST_WRITE_MS, LAST_WRITE_TIMEOUT_MS, leadNeededMs, WRITE_TIMEOUT_MS } from "./client-fence.ts";
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
  const fenced = new FencedClient({ client: server, clock, leadsFor: (ms) => elector.leadsFor(ms) });
  elector.start();
  await clock.advance(0);
  return { server, clock, fenced, told };
}

async function expectQuietAfterTimeout(clock: FakeClock, fenced: FencedClient): Promise<void> {
  let isQuiet = false;
  const quiet = fenced.quiet().then(() => (isQuiet = true));
  await clock.advance(WRITE_TIMEOUT_MS - 1);
  expect(isQuiet).toBe(false);
  await clock.advance(1);
  expect(await quiet).toBe(true);
}

describe("a leader's writes", () => {
  test("have time to end before the Lease may be another's, with as much for their way", () => {
    const { leaseDurationMs, renewDeadlineMs, retryPeriodMs } = LEASE_TIMINGS;
    for (const timeoutMs of [WRITE_TIMEOUT_MS, LAST_WRITE_TIMEOUT_MS]) {
      expect(renewDeadlineMs - leadNeededMs(timeoutMs) + timeoutMs).toBeLessThanOrEqual(leaseDurationMs - 3_000);
    }
    expect(leadNeededMs(LAST_WRITE_TIMEOUT_MS)).toBe(LAST_WRITE_MS);
    // A leader whose renewals succeed uses the longer one.
    expect(renewDeadlineMs - leadNeededMs(WRITE_TIMEOUT_MS)).toBeGreaterThan(1.5 * retryPeriodMs);
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

  test("have less time when renewals fail, so that all end by then; one that waited too long for its connection is not sent", async () => {
    const { server, clock, fenced } = await leader();
    const timeouts: unknown[] = [];
    const patch = server.patch.bind(server);
    let waitMs = 0;
    server.patch = async (type, name, body, options) => {
      if (type.plural === "namespaces") {
        timeouts.push(options?.timeoutMs);
        if (waitMs > 0) await sleep(clock, waitMs);
      }
      return patch(type, name, body, options);
    };
    await clock.advance(10_000);
    server.failNext({ plural: "leases", times: 1000, error: new KubeError({ code: 500, reason: "InternalError", message: "etcd" }) });
    await clock.advance(3_400);
    await fenced.patch(namespaces, ns, {});
    waitMs = 700;
    const waited = expect(fenced.patch(namespaces, ns, {})).rejects.toMatchObject({ reason: "NotSent" });
    await clock.advance(700);
    await waited;
    waitMs = 0;
    await fenced.patch(namespaces, ns, {});
    expect(timeouts).toEqual([WRITE_TIMEOUT_MS, WRITE_TIMEOUT_MS, LAST_WRITE_TIMEOUT_MS]);
  });

  test("that ended without an answer keep it from being quiet until their timeout, and others do not", async () => {
    const { server, clock, fenced } = await leader();
    server.failNext({ verb: "patch", plural: "namespaces", error: new KubeError({ code: 409, reason: "Conflict", message: "stale" }) });
    await expect(fenced.patch(namespaces, ns, {})).rejects.toMatchObject({ code: 409 });
    await fenced.quiet();
    server.failNext({ verb: "patch", plural: "namespaces", error: new KubeError({ code: 0, reason: "Unreachable", message: "cut" }) });
    await expect(fenced.patch(namespaces, ns, {}, { maySend: () => true })).rejects.toMatchObject({ code: 0 });
    await expectQuietAfterTimeout(clock, fenced);
  });

  test("are not over when they are given up: what arrived in the last moment has its whole timeout before it", async () => {
    const { server, clock, fenced } = await leader();
    // It took all of its ten seconds to get through, and was cut off then.
    server.failNext({ verb: "patch", plural: "namespaces", error: new KubeError({ code: 0, reason: "Unreachable", message: "no answer within 10 s" }) });
    const patch = server.patch.bind(server);
    server.patch = async (type, name, body, options) => {
      if (type.plural !== "namespaces") return patch(type, name, body, options);
      if (options?.maySend?.() === false) throw new Error("may not be sent");
      await sleep(clock, 10_000);
      return patch(type, name, body, { ...options, maySend: () => true });
    };
    const failed = expect(fenced.patch(namespaces, ns, {})).rejects.toMatchObject({ code: 0 });
    await clock.advance(10_000);
    await failed;
    await expectQuietAfterTimeout(clock, fenced);
  });
});
