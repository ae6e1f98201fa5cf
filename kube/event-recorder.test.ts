import { describe, expect, test } from "vitest";
import { FakeClock } from "../sys/fake-clock.ts";
import { silentLogger } from "../sys/log.ts";
import { seededRandom } from "../sys/random.ts";
import { KubeError } from "./client.ts";
import { EventRecorder, maxQueuedEvents, referenceTo, repeatWindowMs, type EventBody } from "./event-recorder.ts";
import { FakeKubeClient } from "./fake-client.ts";
import { events, nodes, services } from "./objects.ts";

const assigned: EventBody = { type: "Normal", reason: "IPAllocated", message: "Assigned 192.0.2.1" };
const reference = referenceTo(services, { metadata: { namespace: "default", name: "svc", uid: "u" }, spec: {} });

function setUp(): { client: FakeKubeClient; clock: FakeClock; recorder: EventRecorder } {
  const client = new FakeKubeClient();
  const clock = new FakeClock();
  const recorder = new EventRecorder({ client, clock, random: seededRandom(1), log: silentLogger, component: "metallb-controller", host: "pod-1" });
  return { client, clock, recorder };
}

describe("EventRecorder", () => {
  test("writes an event as the API wants it", async () => {
    const { client, recorder } = setUp();
    recorder.event(reference, assigned);
    await recorder.flush();
    expect(client.peekAll(events)).toMatchObject([
      {
        metadata: { namespace: "default", name: expect.stringMatching(/^svc\.[0-9a-f]{12}$/) },
        involvedObject: { apiVersion: "v1", kind: "Service", namespace: "default", name: "svc", uid: "u" },
        ...assigned,
        source: { component: "metallb-controller", host: "pod-1" },
        firstTimestamp: "2026-01-01T00:00:00Z",
        count: 1,
      },
    ]);
  });

  test("a repeat within ten minutes raises the count; later it is a new event", async () => {
    const { client, clock, recorder } = setUp();
    recorder.event(reference, assigned);
    await recorder.flush();
    await clock.advance(60_000);
    recorder.event(reference, assigned);
    recorder.event(reference, assigned);
    await recorder.flush();
    expect(client.peekAll(events)).toMatchObject([{ count: 3, lastTimestamp: "2026-01-01T00:01:00Z" }]);
    recorder.event(reference, { ...assigned, message: "another" });
    await clock.advance(repeatWindowMs + 1);
    recorder.event(reference, assigned);
    await recorder.flush();
    expect(client.peekAll(events).map(({ count }) => count)).toEqual([3, 1, 1]);
  });

  test("an event that the API server has forgotten is made anew", async () => {
    const { client, recorder } = setUp();
    recorder.event(reference, assigned);
    await recorder.flush();
    for (const { metadata } of client.peekAll(events)) client.remove(events, { namespace: "default", name: metadata.name });
    recorder.event(reference, assigned);
    await recorder.flush();
    expect(client.peekAll(events)).toMatchObject([{ count: 2 }]);
  });

  test("a passing failure is tried again, a refusal is dropped and counted", async () => {
    const { client, clock, recorder } = setUp();
    client.failNext({ verb: "create", error: new KubeError({ code: 503, reason: "ServiceUnavailable", message: "" }) });
    recorder.event(reference, assigned);
    await clock.advance(2_000);
    expect(client.peekAll(events)).toHaveLength(1);
    client.failNext({ verb: "create", error: new KubeError({ code: 403, reason: "Forbidden", message: "" }) });
    recorder.event(reference, { ...assigned, reason: "Other" });
    await recorder.flush();
    expect(recorder.dropped).toBe(1);
  });

  test("in an outage the queue is bounded and nothing throws", async () => {
    const { client, clock, recorder } = setUp();
    client.outage(true);
    for (let index = 0; index < maxQueuedEvents + 500; index += 1) recorder.event(reference, { ...assigned, message: String(index) });
    expect(recorder.dropped).toBeGreaterThanOrEqual(490);
    await clock.advance(1_000);
    // Two writers, each one request at a time.
    expect(client.calls.length).toBeLessThanOrEqual(6);
  });

  test("an event of a cluster-scoped object goes to namespace default, a long message is cut", async () => {
    const { client, recorder } = setUp();
    recorder.event(referenceTo(nodes, { metadata: { name: "n" } }), { ...assigned, message: "x".repeat(5_000) });
    await recorder.flush();
    expect(client.peekAll(events)[0]?.metadata.namespace).toBe("default");
    expect(client.peekAll(events)[0]?.message).toHaveLength(1_024);
  });
});
