import { describe, expect, test } from "vitest";
import { FakeClock } from "../sys/fake-clock.ts";
import { silentLogger } from "../sys/log.ts";
import { seededRandom } from "../sys/random.ts";
import { KubeError } from "./client.ts";
import { FakeKubeClient } from "./fake-client.ts";
import { Informer, type Change, type InformerOptions } from "./informer.ts";
import { services, type Service } from "./objects.ts";

function service(name: string, labels?: Record<string, string>): Service {
  return { metadata: { name, namespace: "default", ...(labels === undefined ? {} : { labels }) }, spec: { type: "LoadBalancer" } };
}

function setUp(options: Partial<InformerOptions<Service>> = {}): {
  client: FakeKubeClient;
  clock: FakeClock;
  informer: Informer<Service>;
  told: string[];
} {
  const client = new FakeKubeClient();
  const clock = new FakeClock();
  const told: string[] = [];
  const onChange = (change: Change<Service>): void => void told.push(`${change.kind} ${change.object.metadata.name}`);
  const informer = new Informer({ client, type: services, clock, random: seededRandom(1), log: silentLogger, onChange, ...options });
  return { client, clock, informer, told };
}

describe("Informer", () => {
  test("lists, then follows changes", async () => {
    const { client, clock, informer, told } = setUp();
    client.put(services, service("a"));
    informer.start();
    await informer.whenSynced();
    expect(informer.isSynced).toBe(true);
    await clock.advance(0);
    client.put(services, service("b"));
    client.put(services, { ...service("a"), spec: { type: "ClusterIP" } });
    client.remove(services, { namespace: "default", name: "b" });
    await clock.advance(0);
    expect(told).toEqual(["added a", "added b", "updated a", "deleted b"]);
    expect(informer.get("default/a")?.spec.type).toBe("ClusterIP");
    expect(informer.list()).toHaveLength(1);
    await informer.stop();
    expect(client.openWatches).toBe(0);
  });

  test("an API server that is down at start is tried until it is there", async () => {
    const { client, clock, informer } = setUp();
    client.outage(true);
    informer.start();
    await clock.advance(300_000);
    expect(informer.isSynced).toBe(false);
    const tries = client.calls.length;
    // At most 10 s apart, at least 5 s apart once the backoff is at its top.
    expect(tries).toBeGreaterThan(30);
    expect(tries).toBeLessThan(75);
    client.outage(false);
    await clock.advance(10_000);
    expect(informer.isSynced).toBe(true);
    await informer.stop();
  });

  test("the cache survives an outage, and the watch resumes without a new list", async () => {
    const { client, clock, informer, told } = setUp();
    client.put(services, service("a"));
    informer.start();
    await clock.advance(0);
    client.outage(true);
    await clock.advance(60_000);
    expect(informer.get("default/a")).toBeDefined();
    expect(informer.lastContactMs).toBe(0);
    client.outage(false);
    client.put(services, service("b"));
    await clock.advance(10_000);
    expect(told).toEqual(["added a", "added b"]);
    expect(informer.lastContactMs).toBeGreaterThan(60_000);
    expect(client.calls.filter(({ verb }) => verb === "list")).toHaveLength(1);
    await informer.stop();
  });

  test("a version too old leads to a new list, and what was deleted meanwhile is told", async () => {
    const { client, clock, informer, told } = setUp();
    client.put(services, service("a"));
    client.put(services, service("b"));
    informer.start();
    await clock.advance(0);
    client.outage(true);
    client.remove(services, { namespace: "default", name: "a" });
    client.put(services, { ...service("b"), spec: { type: "ClusterIP" } });
    client.put(services, service("c"));
    client.compact();
    client.outage(false);
    await clock.advance(20_000);
    expect(told.slice(2)).toEqual(["updated b", "added c", "deleted a"]);
    await informer.stop();
  });

  test("an object deleted and made anew during an outage is told as both", async () => {
    const { client, clock, informer, told } = setUp();
    client.put(services, service("a"));
    informer.start();
    await clock.advance(0);
    client.outage(true);
    client.remove(services, { namespace: "default", name: "a" });
    client.put(services, service("a"));
    client.compact();
    client.outage(false);
    await clock.advance(20_000);
    expect(told).toEqual(["added a", "deleted a", "added a"]);
    await informer.stop();
  });

  test("a bookmark moves the version on and counts as contact", async () => {
    const { client, clock, informer, told } = setUp();
    informer.start();
    await clock.advance(5_000);
    client.bookmark();
    await clock.advance(0);
    expect(informer.lastContactMs).toBe(5_000);
    client.endWatches();
    await clock.advance(1_000);
    expect(client.openWatches).toBe(1);
    expect(told).toEqual([]);
    await informer.stop();
  });

  test("a watch that is always refused is tried ever more slowly, and so are the lists between", async () => {
    const { client, clock, informer } = setUp();
    client.failNext({ verb: "watch", times: 1_000, error: new KubeError({ code: 403, reason: "Forbidden", message: "no right to watch" }) });
    informer.start();
    await clock.advance(60_000);
    expect(informer.isSynced).toBe(true);
    const lists = client.calls.filter(({ verb }) => verb === "list").length;
    expect(lists).toBeGreaterThan(7);
    expect(lists).toBeLessThan(20);
    await informer.stop();
  });

  test("a handler that throws stops nothing", async () => {
    const { client, clock, informer } = setUp({
      onChange: () => {
        throw new Error("no");
      },
    });
    client.put(services, service("a"));
    informer.start();
    await clock.advance(0);
    client.put(services, service("b"));
    await clock.advance(0);
    expect(informer.list()).toHaveLength(2);
    await informer.stop();
  });

  test("a selector's object that stops matching is deleted", async () => {
    const { client, clock, informer, told } = setUp({ labelSelector: "x=1" });
    client.put(services, service("a", { x: "1" }));
    client.put(services, service("b"));
    informer.start();
    await clock.advance(0);
    client.put(services, service("a", { x: "2" }));
    await clock.advance(0);
    expect(told).toEqual(["added a", "deleted a"]);
    await informer.stop();
  });

  test("what the API server asks to wait is waited", async () => {
    const { client, clock, informer } = setUp();
    client.failNext({ verb: "list", error: new KubeError({ code: 429, reason: "TooManyRequests", message: "busy", retryAfterSeconds: 7 }) });
    informer.start();
    await clock.advance(6_900);
    expect(client.calls).toHaveLength(1);
    await clock.advance(200);
    expect(informer.isSynced).toBe(true);
    await informer.stop();
  });

  test("managed fields are stripped before they are kept", async () => {
    const { client, clock, informer } = setUp();
    const heavy = service("a");
    Object.assign(heavy.metadata, { managedFields: [{ manager: "kubectl" }] });
    heavy.metadata.annotations = { "kubectl.kubernetes.io/last-applied-configuration": "{}", keep: "1" };
    client.put(services, heavy);
    informer.start();
    await clock.advance(0);
    const kept = informer.get("default/a");
    expect(kept?.metadata).not.toHaveProperty("managedFields");
    expect(kept?.metadata.annotations).toEqual({ keep: "1" });
    await informer.stop();
  });

  test("says whether it follows: from the open watch until two failures in a row, not at a watch that ends or is cut once", async () => {
    const seen: boolean[] = [];
    const { client, clock, informer } = setUp({ onFollowing: () => void seen.push(informer.isFollowing) });
    client.failNext({ verb: "watch", error: new KubeError({ code: 500, reason: "InternalError", message: "not yet" }) });
    informer.start();
    await informer.whenSynced();
    expect(informer.isFollowing).toBe(false);
    await clock.advance(5_000);
    expect(seen).toEqual([true]);
    client.endWatches();
    await clock.advance(5_000);
    expect(client.openWatches).toBe(1);
    client.outage(true);
    client.outage(false);
    await clock.advance(5_000);
    expect(seen).toEqual([true]);
    client.outage(true);
    await clock.advance(5_000);
    client.outage(false);
    await clock.advance(15_000);
    expect(seen).toEqual([true, false, true]);
    await informer.stop();
    expect(seen).toEqual([true, false, true, false]);
  });

  test("an idle watch that is cut time and again follows all the while, is open again at once, and is worth no warning", async () => {
    const told: string[] = [];
    const note = (level: string) => (event: string): void => void told.push(`${level} ${event}`);
    const following: boolean[] = [];
    const { client, clock, informer } = setUp({ log: { ...silentLogger, info: note("info"), warn: note("warn") }, onFollowing: () => void following.push(informer.isFollowing) });
    informer.start();
    await clock.advance(0);
    const silent = new KubeError({ code: 0, reason: "Silent", message: "a watch was silent for 150 s" });
    for (let cut = 0; cut < 10; cut += 1) {
      await clock.advance(150_000);
      client.endWatches(silent);
      await clock.advance(250);
      expect(client.openWatches, `after cut ${cut}`).toBe(1);
    }
    expect(following).toEqual([true]);
    expect(told).toEqual([]);
    await clock.advance(150_000);
    client.endWatches(silent);
    client.outage(true);
    await clock.advance(5_000);
    client.outage(false);
    await clock.advance(15_000);
    client.bookmark();
    await clock.advance(0);
    expect(told).toEqual(["warn watchFailed", "info watchRecovered"]);
    expect(following).toEqual([true, false, true]);
    await informer.stop();
  });

  test("a watch that hangs goes on after reconnect, from where it was, and a wait is cut short", async () => {
    const { client, clock, informer, told } = setUp();
    client.put(services, service("a"));
    informer.start();
    await clock.advance(0);
    client.hang(true);
    client.put(services, service("b"));
    await clock.advance(60_000);
    client.hang(false);
    client.put(services, service("c"));
    await clock.advance(60_000);
    expect(told).toEqual(["added a"]);
    expect(informer.isFollowing).toBe(true);
    informer.reconnect();
    expect(informer.isFollowing).toBe(false);
    await clock.advance(0);
    expect(told).toEqual(["added a", "added b", "added c"]);
    expect(informer.isFollowing).toBe(true);
    expect(client.calls.filter(({ verb }) => verb === "list")).toHaveLength(1);

    client.outage(true);
    await clock.advance(60_000);
    client.outage(false);
    informer.reconnect();
    await clock.advance(0);
    expect(informer.isFollowing).toBe(true);
    await informer.stop();
  });

  test("a list that hangs is given up by reconnect, and its late answer counts for nothing", async () => {
    const { client, clock, informer, told } = setUp();
    const list = client.list.bind(client);
    const late = Promise.withResolvers<void>();
    client.list = async (type, options) => {
      client.list = list;
      const answer = await list(type, options);
      await late.promise;
      return answer;
    };
    client.put(services, service("old"));
    informer.start();
    await clock.advance(0);
    client.remove(services, { namespace: "default", name: "old" });
    client.put(services, service("new"));
    informer.reconnect();
    await clock.advance(0);
    expect(told).toEqual(["added new"]);
    late.resolve();
    await clock.advance(0);
    expect(told).toEqual(["added new"]);
    await informer.stop();
  });
});
