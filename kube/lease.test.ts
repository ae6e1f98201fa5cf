import { describe, expect, test } from "vitest";
import { FakeClock } from "../sys/fake-clock.ts";
import { silentLogger } from "../sys/log.ts";
import { seededRandom } from "../sys/random.ts";
import { FakeKubeClient } from "./fake-client.ts";
import { LeaderElector } from "./lease.ts";
import { leases } from "./objects.ts";

const name = { namespace: "metallb-system", name: "herald" };

function elector(options: { client: FakeKubeClient; clock: FakeClock; identity: string; told: string[] }): LeaderElector {
  const { client, clock, identity, told } = options;
  return new LeaderElector({
    client,
    clock,
    identity,
    random: seededRandom(3),
    log: silentLogger,
    ...name,
    onStartedLeading: () => told.push(`${identity} started`),
    onStoppedLeading: (reason) => told.push(`${identity} ${reason}`),
  });
}

describe("LeaderElector", () => {
  test("the Lease is written as client-go writes it, and a clean stop hands over within 2 s", async () => {
    const client = new FakeKubeClient();
    const clock = new FakeClock();
    const told: string[] = [];
    const first = elector({ client, clock, identity: "a", told });
    const second = elector({ client, clock, identity: "b", told });
    first.start();
    await clock.advance(500);
    second.start();
    await clock.advance(30_000);
    expect(told).toEqual(["a started"]);
    const held = client.peek(leases, name);
    expect(held?.spec).toMatchObject({ holderIdentity: "a", leaseDurationSeconds: 15, leaseTransitions: 0, acquireTime: "2026-01-01T00:00:00.000000Z" });
    expect(Date.parse(held?.spec?.renewTime ?? "")).toBeGreaterThan(clock.wallMs() - 2_500);
    const stopping = first.stop();
    await clock.advance(0);
    await stopping;
    expect(client.peek(leases, name)?.spec).toMatchObject({ holderIdentity: "", leaseDurationSeconds: 1 });
    await clock.advance(2_000);
    expect(told).toEqual(["a started", "a released", "b started"]);
    expect(client.peek(leases, name)?.spec).toMatchObject({ holderIdentity: "b", leaseTransitions: 1 });
    expect(second.isLeader).toBe(true);
    const last = second.stop();
    await clock.advance(0);
    await last;
    expect(clock.timers).toBe(0);
  });

  test("an outage costs leadership after 10 s, not before; stop takes at most 3 s", async () => {
    const client = new FakeKubeClient();
    const clock = new FakeClock();
    const told: string[] = [];
    const only = elector({ client, clock, identity: "a", told });
    only.start();
    await clock.advance(4_100);
    client.outage(true);
    await clock.advance(7_800);
    expect(told).toEqual(["a started"]);
    await clock.advance(2_200);
    expect(told).toEqual(["a started", "a lost"]);
    client.outage(false);
    await clock.advance(3_000);
    expect(told).toEqual(["a started", "a lost", "a started"]);
    client.outage(true);
    let stopped = false;
    const stopping = only.stop().then(() => (stopped = true));
    await clock.advance(3_000);
    await stopping;
    expect(stopped).toBe(true);
  });

  test("a Lease that somebody deletes is made anew by its leader", async () => {
    const client = new FakeKubeClient();
    const clock = new FakeClock();
    const told: string[] = [];
    const only = elector({ client, clock, identity: "a", told });
    only.start();
    await clock.advance(1_000);
    client.remove(leases, name);
    await clock.advance(5_000);
    expect(client.peek(leases, name)?.spec?.holderIdentity).toBe("a");
    expect(told).toEqual(["a started"]);
  });
});
