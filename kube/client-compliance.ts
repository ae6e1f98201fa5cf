/**
 * What every KubeClient must do, run on the fake and on a real API server.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KubeError, type KubeClient, type WatchEvent } from "./client.ts";
import { ipAddressPools, leases, namespaces, nodes, services, type Condition, type Lease, type Service } from "./objects.ts";

const namespace = "compliance";

function lease(name: string, labels: Record<string, string> = {}): Lease {
  return { metadata: { namespace, name, labels }, spec: { holderIdentity: "a", leaseDurationSeconds: 15 } };
}

function condition(type: string, reason: string): Condition {
  return { type, status: "True", reason, message: "", lastTransitionTime: "2026-01-01T00:00:00Z" };
}

async function refusal(call: Promise<unknown>): Promise<KubeError> {
  const error: unknown = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof KubeError)) throw new Error(`expected a KubeError, got ${String(error)}`);
  return error;
}

/** Takes `count` events that are no bookmarks. */
async function take<T>(events: AsyncIterable<WatchEvent<T>>, count: number): Promise<WatchEvent<T>[]> {
  const taken: WatchEvent<T>[] = [];
  for await (const event of events) {
    if (event.type !== "BOOKMARK") taken.push(event);
    if (taken.length === count) break;
  }
  return taken;
}

/** Declares the suite. `setUp` runs once before all tests; the API server behind the client starts empty. */
export function clientCompliance(name: string, setUp: () => Promise<{ client: KubeClient; tearDown: () => Promise<void> }>): void {
  describe(`KubeClient compliance: ${name}`, () => {
    let client: KubeClient;
    let tearDown: (() => Promise<void>) | undefined;

    beforeAll(async () => {
      ({ client, tearDown } = await setUp());
      await client.create(namespaces, { metadata: { name: namespace } });
    }, 90_000);
    afterAll(() => tearDown?.(), 30_000);

    test("create, get, list, delete", async () => {
      const created = await client.create(leases, lease("one", { x: "1" }));
      expect(created.metadata.uid).toBeTruthy();
      expect(created.metadata.creationTimestamp).toMatch(/^\d{4}-.*Z$/);
      expect(await client.get(leases, { namespace, name: "one" })).toMatchObject({ spec: { holderIdentity: "a" } });
      await client.create(leases, lease("two", { x: "2" }));
      const found = await client.list(leases, { namespace, labelSelector: "x=1" });
      expect(found.items.map(({ metadata }) => metadata.name)).toEqual(["one"]);
      expect(found.resourceVersion).toMatch(/^\d+$/);
      expect((await client.list(leases, { namespace, fieldSelector: "metadata.name=two" })).items).toHaveLength(1);
      const wrongUid = await refusal(client.delete(leases, { namespace, name: "one" }, { uid: "11111111-1111-4111-8111-111111111111" }));
      expect(wrongUid).toMatchObject({ code: 409, reason: "Conflict" });
      await client.delete(leases, { namespace, name: "one" });
      expect(await refusal(client.get(leases, { namespace, name: "one" }))).toMatchObject({ code: 404, reason: "NotFound" });
    });

    test("refusals have code and reason", async () => {
      await client.create(leases, lease("taken"));
      expect(await refusal(client.create(leases, lease("taken")))).toMatchObject({ code: 409, reason: "AlreadyExists" });
      const missing = { namespace, name: "missing" };
      expect(await refusal(client.patch(leases, missing, { spec: {} }))).toMatchObject({ code: 404, reason: "NotFound" });
      expect(await refusal(client.delete(leases, missing))).toMatchObject({ code: 404, reason: "NotFound" });
      const versioned = lease("versioned");
      versioned.metadata.resourceVersion = "1";
      expect(await refusal(client.create(leases, versioned))).toMatchObject({ message: "resourceVersion should not be set on objects to be created" });
      expect(await refusal(client.create(leases, { metadata: { namespace, name: "" } }))).toMatchObject({ code: 422, reason: "Invalid" });
    });

    test("generateName makes a name", async () => {
      const created = await client.create(leases, { metadata: { namespace, name: "", generateName: "gen-" } });
      expect(created.metadata.name).toMatch(/^gen-.{5}$/);
    });

    test("a patch with a version, and a replace, are conditional; one that changes nothing keeps the version", async () => {
      const first = await client.create(leases, lease("cas"));
      const name = { namespace, name: "cas" };
      const version = first.metadata.resourceVersion ?? "";
      const second = await client.patch(leases, name, { metadata: { resourceVersion: version }, spec: { holderIdentity: "b" } });
      expect(second.spec).toMatchObject({ holderIdentity: "b", leaseDurationSeconds: 15 });
      expect(await refusal(client.patch(leases, name, { metadata: { resourceVersion: version }, spec: { holderIdentity: "c" } }))).toMatchObject({ code: 409, reason: "Conflict" });
      expect(await refusal(client.replace(leases, first))).toMatchObject({ code: 409, reason: "Conflict" });
      expect((await client.replace(leases, { ...second, spec: { holderIdentity: "d" } })).spec).toEqual({ holderIdentity: "d" });
      const third = await client.get(leases, name);
      const same = await client.patch(leases, name, { spec: { holderIdentity: "d" } });
      expect(same.metadata.resourceVersion).toBe(third.metadata.resourceVersion);
      expect((await client.patch(leases, name, { spec: { holderIdentity: null } })).spec?.holderIdentity).toBeUndefined();
    });

    test("a Service's status endpoint takes status and metadata; its main endpoint no status", async () => {
      const name = { namespace, name: "svc" };
      const object: Service = { metadata: name, spec: { type: "LoadBalancer", ports: [{ port: 80 }] }, status: { loadBalancer: { ingress: [{ ip: "192.0.2.9" }] } } };
      expect((await client.create(services, object)).status?.loadBalancer?.ingress).toBeUndefined();
      const ingress = [{ ip: "192.0.2.1", ipMode: "VIP" }];
      const patch = { metadata: { annotations: { from: "pool" } }, spec: { externalTrafficPolicy: "Local" }, status: { loadBalancer: { ingress } } };
      const patched = await client.patch(services, name, patch, { subresource: "status" });
      expect(patched.status?.loadBalancer?.ingress).toEqual(ingress);
      expect(patched.metadata.annotations).toEqual({ from: "pool" });
      expect(patched.spec.externalTrafficPolicy).not.toBe("Local");
      const main = await client.patch(services, name, { status: { loadBalancer: { ingress: [] } }, metadata: { labels: { a: "b" } } });
      expect(main.status?.loadBalancer?.ingress).toEqual(ingress);
      expect(main.metadata.labels).toEqual({ a: "b" });
    });

    test("a strategic patch merges a Service's conditions by type", async () => {
      const name = { namespace, name: "conditions" };
      await client.create(services, { metadata: name, spec: { type: "LoadBalancer", ports: [{ port: 80 }] } });
      const options = { subresource: "status", type: "strategic" } as const;
      await client.patch(services, name, { status: { conditions: [condition("Other", "Kept")] } }, options);
      await client.patch(services, name, { status: { conditions: [condition("Ours", "First")] } }, options);
      const last = await client.patch(services, name, { status: { conditions: [condition("Ours", "Second")] } }, options);
      const reasons = Object.fromEntries((last.status?.conditions ?? []).map(({ type, reason }) => [type, reason]));
      expect(reasons).toEqual({ Other: "Kept", Ours: "Second" });
    });

    test("server-side apply creates and changes", async () => {
      const name = { namespace, name: "applied" };
      const options = { type: "apply", fieldManager: "test", force: true } as const;
      await client.patch(leases, name, { spec: { holderIdentity: "a" } }, options);
      expect((await client.patch(leases, name, { spec: { holderIdentity: "b" } }, options)).spec?.holderIdentity).toBe("b");
    });

    test("a watch resumes where a list ended, and transform is applied", async () => {
      const { resourceVersion } = await client.list(leases, { namespace });
      const abort = new AbortController();
      const name = { namespace, name: "watched" };
      await client.create(leases, lease("watched", { seen: "yes" }));
      await client.patch(leases, name, { spec: { holderIdentity: "b" } });
      await client.delete(leases, name);
      const transform = <T extends object>(object: T): T => ({ ...object, extra: true });
      const events = await take(client.watch(leases, { namespace, resourceVersion, signal: abort.signal, transform }), 3);
      expect(events.map(({ type }) => type)).toEqual(["ADDED", "MODIFIED", "DELETED"]);
      for (const event of events) expect(event).toMatchObject({ object: { extra: true, metadata: { name: "watched" } } });
    });

    test("an object that stops matching a watch's selector is DELETED for it", async () => {
      await client.create(leases, lease("moves", { in: "yes" }));
      const { resourceVersion } = await client.list(leases, { namespace, labelSelector: "in=yes" });
      const abort = new AbortController();
      const watching = take(client.watch(leases, { namespace, labelSelector: "in=yes", resourceVersion, signal: abort.signal }), 1);
      await client.patch(leases, { namespace, name: "moves" }, { metadata: { labels: { in: "no" } } });
      expect(await watching).toMatchObject([{ type: "DELETED", object: { metadata: { name: "moves" } } }]);
    });

    test("an aborted watch ends without an error", async () => {
      const { resourceVersion } = await client.list(nodes);
      const abort = new AbortController();
      const watching = take(client.watch(nodes, { resourceVersion, signal: abort.signal }), 1);
      await client.list(nodes);
      abort.abort();
      expect(await watching).toEqual([]);
    });

    test("a watch says when it is open, and one that is refused does not", async () => {
      const { resourceVersion } = await client.list(nodes);
      const abort = new AbortController();
      const opened = Promise.withResolvers<string>();
      const watching = take(client.watch(nodes, { resourceVersion, signal: abort.signal, onOpen: () => opened.resolve("open") }), 1);
      expect(await opened.promise).toBe("open");
      abort.abort();
      await watching;
      const refused: string[] = [];
      const none = { resourceVersion: "nonsense", signal: new AbortController().signal, onOpen: () => void refused.push("open") };
      await refusal(take(client.watch(nodes, none), 1));
      expect(refused).toEqual([]);
    });

    test("a probe is answered", async () => {
      await client.probe(5_000);
    });

    test("a custom resource that is not there", async () => {
      expect(await refusal(client.get(ipAddressPools, { namespace, name: "none" }))).toMatchObject({ code: 404 });
    });
  });
}
