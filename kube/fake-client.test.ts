import { describe, expect, test } from "vitest";
import { settle } from "../sys/fake-clock.ts";
import { clientCompliance } from "./client-compliance.ts";
import { KubeError } from "./client.ts";
import { FakeKubeClient } from "./fake-client.ts";
import { configurationStates, nodes, services } from "./objects.ts";

clientCompliance("fake", async () => ({ client: new FakeKubeClient(), tearDown: async () => {} }));

describe("FakeKubeClient", () => {
  test("failNext fails the calls it names, as often as told", async () => {
    const fake = new FakeKubeClient();
    fake.put(nodes, { metadata: { name: "n" } });
    const error = new KubeError({ code: 500, reason: "InternalError", message: "no" });
    fake.failNext({ verb: "get", plural: "nodes", times: 2, error });
    await expect(fake.list(nodes)).resolves.toBeDefined();
    await expect(fake.get(nodes, { name: "n" })).rejects.toBe(error);
    await expect(fake.get(nodes, { name: "n" })).rejects.toBe(error);
    await expect(fake.get(nodes, { name: "n" })).resolves.toBeDefined();
    expect(fake.calls.map(({ verb }) => verb)).toEqual(["list", "get", "get", "get"]);
  });

  test("what is stored can't be changed through what was given or taken", async () => {
    const fake = new FakeKubeClient();
    const given = { metadata: { namespace: "a", name: "s" }, spec: { type: "LoadBalancer" as const } };
    fake.put(services, given);
    given.metadata.name = "changed";
    const taken = fake.peek(services, { namespace: "a", name: "s" });
    if (taken !== undefined) taken.spec.type = "ClusterIP";
    expect(fake.peekAll(services)[0]).toMatchObject({ metadata: { name: "s" }, spec: { type: "LoadBalancer" } });
  });

  test("a custom resource's status endpoint changes nothing but the status, and only spec changes count generations", async () => {
    const fake = new FakeKubeClient();
    const name = { namespace: "a", name: "c" };
    await fake.create(configurationStates, { metadata: name, spec: { a: 1 } });
    const patched = await fake.patch(configurationStates, name, { metadata: { labels: { x: "y" } }, status: { ok: true } }, { subresource: "status" });
    expect(patched).toMatchObject({ status: { ok: true }, metadata: { generation: 1 } });
    expect(patched.metadata.labels).toBeUndefined();
    expect((await fake.patch(configurationStates, name, { spec: { a: 2 } })).metadata.generation).toBe(2);
    await expect(fake.patch(configurationStates, name, {}, { type: "strategic" })).rejects.toMatchObject({ code: 415 });
  });

  test("what it takes has been JSON on the way: raw numbers are numbers, undefined is nothing", async () => {
    const fake = new FakeKubeClient();
    const name = { namespace: "a", name: "c" };
    await fake.create(configurationStates, { metadata: name, spec: { gone: undefined } });
    // The compiler's library doesn't know `JSON.rawJSON` yet.
    const raw = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON("9223372036854775807");
    const patched = await fake.patch(configurationStates, name, { status: { count: raw } }, { subresource: "status" });
    expect(patched.status).toEqual({ count: 2 ** 63 });
    expect(Object.keys(patched.spec ?? {})).toEqual([]);
  });

  test("a watch from a forgotten version gets 410; an outage ends watches", async () => {
    const fake = new FakeKubeClient();
    fake.put(nodes, { metadata: { name: "n" } });
    const { signal } = new AbortController();
    fake.compact();
    await expect(fake.watch(nodes, { resourceVersion: "1", signal }).next()).rejects.toMatchObject({ code: 410 });
    const { resourceVersion } = await fake.list(nodes);
    const next = fake.watch(nodes, { resourceVersion, signal }).next();
    await settle();
    fake.outage(true);
    await expect(next).rejects.toMatchObject({ code: 0, reason: "Unreachable" });
  });
});
