import { afterEach, describe, expect, it } from "vitest";
import { KubeError } from "../../kube/client.ts";
import { FakeKubeClient } from "../../kube/fake-client.ts";
import { Informer } from "../../kube/informer.ts";
import { serviceL2Statuses } from "../../kube/objects.ts";
import type { CustomResource } from "../../kube/objects.ts";
import { WorkQueue } from "../../kube/work-queue.ts";
import { FakeClock } from "../../sys/fake-clock.ts";
import { silentLogger } from "../../sys/log.ts";
import { seededRandom } from "../../sys/random.ts";
import type { OwnedAddress } from "../announced-services.ts";
import { l2StatusOf } from "./l2-status-object.ts";
import { L2StatusWriter } from "./l2-status-writer.ts";

const namespace = "metallb-system";
const owned: OwnedAddress = {
  sinceUnixMs: Date.UTC(2026, 0, 1),
  reason: "FirstInRank",
  interfaces: [{ name: "eth1", index: 3, mac: "02:00:00:00:00:02", usable: true }, { name: "eth0", index: 2, mac: "02:00:00:00:00:01", usable: true }],
};

/** One node's writer on a shared API server. `announced` holds what the node announces: key to "restricted". */
class Writer {
  readonly announced = new Map<string, boolean>();
  readonly writer: L2StatusWriter;
  readonly #informer: Informer<CustomResource>;
  readonly #queue: WorkQueue;

  /** Keys that were worked on. */
  readonly worked: string[] = [];
  /** Uid of the Pod that this life of the speaker runs in. */
  podUid = "u1";

  constructor(api: FakeKubeClient, clock: FakeClock, node: string, nodes: readonly string[] = ["node1", "node2"]) {
    const common = { clock, random: seededRandom(1), log: silentLogger };
    this.#queue = new WorkQueue({ name: "test", onVerdict: (key) => void this.worked.push(key), ...common, baseBackoffMs: 100, maxBackoffMs: 1_000 });
    this.writer = new L2StatusWriter({
      client: api,
      queue: this.#queue,
      log: silentLogger,
      namespace,
      node,
      owner: () => ({ apiVersion: "v1", kind: "Pod", name: `speaker-${node}`, uid: this.podUid }),
      wanted: (key) => {
        const restricted = this.announced.get(key);
        return restricted === undefined ? undefined : l2StatusOf({ key, node, restricted, owned });
      },
      knowsNode: (name) => nodes.includes(name),
    });
    this.#informer = new Informer({ client: api, type: serviceL2Statuses, namespace, ...common, onChange: (change) => this.writer.changed(change) });
    this.#informer.start();
  }

  announce(key: string, restricted = false): void {
    this.announced.set(key, restricted);
    this.writer.touch(key);
  }

  withdraw(key: string): void {
    this.announced.delete(key);
    this.writer.touch(key);
  }

  async stop(): Promise<void> {
    await Promise.all([this.#queue.stop(), this.#informer.stop()]);
  }
}

const running: Writer[] = [];
function setUp(): { api: FakeKubeClient; clock: FakeClock; speaker: (node: string, nodes?: readonly string[]) => Promise<Writer> } {
  const api = new FakeKubeClient();
  const clock = new FakeClock();
  const speaker = async (node: string, nodes?: readonly string[]): Promise<Writer> => {
    const writer = new Writer(api, clock, node, nodes);
    running.push(writer);
    await clock.advance(0);
    return writer;
  };
  return { api, clock, speaker };
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((writer) => writer.stop()));
});

function nodesIn(api: FakeKubeClient): unknown[] {
  return api.peekAll(serviceL2Statuses).map((object) => (object.status as { node?: string } | undefined)?.node);
}

describe("L2StatusWriter", () => {
  it("writes one object with labels, owner and status", async () => {
    const { api, clock, speaker } = setUp();
    const one = await speaker("node1");
    one.writer.start();
    one.announce("default/svc1", true);
    await clock.advance(5_000);
    expect(api.peekAll(serviceL2Statuses)).toMatchObject([
      {
        metadata: {
          name: expect.stringMatching(/^l2-/),
          labels: { "metallb.io/node": "node1", "metallb.io/service-name": "svc1", "metallb.io/service-namespace": "default" },
          ownerReferences: [{ kind: "Pod", name: "speaker-node1", uid: "u1" }],
        },
        status: {
          node: "node1",
          serviceName: "svc1",
          serviceNamespace: "default",
          interfaces: [{ name: "eth0" }, { name: "eth1" }],
          since: "2026-01-01T00:00:00Z",
          reason: "FirstInRank",
          mac: "02:00:00:00:00:01",
        },
      },
    ]);
  });

  it("lists interfaces only while they are restricted", async () => {
    const { api, clock, speaker } = setUp();
    const one = await speaker("node1");
    one.writer.start();
    one.announce("default/svc1", true);
    await clock.advance(100);
    one.announce("default/svc1", false);
    await clock.advance(100);
    expect(api.peekAll(serviceL2Statuses)).toHaveLength(1);
    expect(api.peekAll(serviceL2Statuses)[0]?.status).not.toHaveProperty("interfaces");
  });

  it("writes nothing when touched again without a change", async () => {
    const { api, clock, speaker } = setUp();
    const one = await speaker("node1");
    one.writer.start();
    one.announce("default/svc1");
    await clock.advance(5_000);
    const before = api.calls.length;
    for (let times = 0; times < 10; times += 1) one.writer.touch("default/svc1");
    await clock.advance(5_000);
    expect(api.calls.slice(before).filter((call) => call.verb !== "watch" && call.verb !== "list")).toEqual([]);
  });

  it("changes hands: the new leader deletes the old one's object, the old one its own", async () => {
    const { api, clock, speaker } = setUp();
    const one = await speaker("node1");
    const two = await speaker("node2");
    one.writer.start();
    two.writer.start();
    one.announce("default/svc1");
    await clock.advance(5_000);
    two.announce("default/svc1");
    one.withdraw("default/svc1");
    await clock.advance(5_000);
    expect(nodesIn(api)).toEqual(["node2"]);
    two.withdraw("default/svc1");
    await clock.advance(5_000);
    expect(nodesIn(api)).toEqual([]);
  });

  it("removes what a leader that died left behind", async () => {
    const { api, clock, speaker } = setUp();
    const one = await speaker("node1");
    one.writer.start();
    one.announce("default/svc1");
    await clock.advance(5_000);
    await one.stop();
    const two = await speaker("node2");
    two.writer.start();
    two.announce("default/svc1");
    await clock.advance(5_000);
    expect(nodesIn(api)).toEqual(["node2"]);
  });

  it("removes the object of a Node that is gone, even for a Service nobody announces", async () => {
    const { api, clock, speaker } = setUp();
    const one = await speaker("node1");
    one.writer.start();
    one.announce("default/svc1");
    await clock.advance(5_000);
    await one.stop();
    const two = await speaker("node2", ["node2"]);
    two.writer.start();
    await clock.advance(5_000);
    expect(nodesIn(api)).toEqual([]);
  });

  it("adopts its object after a restart, and keeps one where an earlier life left two", async () => {
    const { api, clock, speaker } = setUp();
    const before = await speaker("node1");
    before.writer.start();
    before.announce("default/svc1");
    await clock.advance(5_000);
    await before.stop();
    const [first] = api.peekAll(serviceL2Statuses);
    if (first === undefined) throw new Error("no object was written");
    const { uid: _uid, resourceVersion: _version, ...metadata } = first.metadata;
    api.put(serviceL2Statuses, { ...first, metadata: { ...metadata, name: `${metadata.name}-twin` } });
    const after = await speaker("node1");
    after.announce("default/svc1");
    after.writer.start();
    await clock.advance(5_000);
    expect(api.peekAll(serviceL2Statuses).map((object) => object.metadata.name)).toEqual([first.metadata.name]);
    expect(api.calls.filter((call) => call.verb === "create")).toHaveLength(1);
  });

  it("an object adopted from an earlier Pod gets the new Pod as its owner, or it would go with the old one", async () => {
    const { api, clock, speaker } = setUp();
    const before = await speaker("node1");
    before.writer.start();
    before.announce("default/svc1");
    await clock.advance(5_000);
    await before.stop();
    const after = await speaker("node1");
    after.podUid = "u2";
    after.announce("default/svc1");
    after.writer.start();
    await clock.advance(5_000);
    expect(api.peekAll(serviceL2Statuses).map(({ metadata }) => metadata.ownerReferences)).toEqual([[{ apiVersion: "v1", kind: "Pod", name: "speaker-node1", uid: "u2" }]]);
    expect(api.calls.filter(({ verb }) => verb === "create")).toHaveLength(1);
    const calls = api.calls.length;
    after.writer.touch("default/svc1");
    await clock.advance(5_000);
    expect(api.calls.slice(calls).filter(({ verb }) => verb === "patch")).toEqual([]);
  });

  it("replaces an own object that the API will not let it correct", async () => {
    const { api, clock, speaker } = setUp();
    const labels = { "metallb.io/node": "node1", "metallb.io/service-name": "svc1", "metallb.io/service-namespace": "default" };
    // Made by hand: the names in a status cannot be changed once they are there.
    api.put(serviceL2Statuses, { metadata: { name: "l2-hand", namespace, labels }, status: { node: "node9", serviceName: "svc1", serviceNamespace: "default" } });
    const one = await speaker("node1");
    one.writer.start();
    api.failNext({ verb: "patch", plural: "servicel2statuses", error: new KubeError({ code: 422, reason: "Invalid", message: "node is immutable" }) });
    one.announce("default/svc1");
    await clock.advance(5_000);
    expect(nodesIn(api)).toEqual(["node1"]);
    expect(api.peekAll(serviceL2Statuses)[0]?.metadata.name).not.toBe("l2-hand");
  });

  it("forgets an object under the Service that its labels named before", async () => {
    const { api, clock, speaker } = setUp();
    const one = await speaker("node1");
    one.writer.start();
    one.announce("default/svc1");
    await clock.advance(5_000);
    const [object] = api.peekAll(serviceL2Statuses);
    if (object === undefined) throw new Error("no object was written");
    api.put(serviceL2Statuses, { ...object, metadata: { ...object.metadata, labels: { ...object.metadata.labels, "metallb.io/service-name": "svc9" } } });
    await clock.advance(5_000);
    expect(api.peekAll(serviceL2Statuses).map(({ metadata }) => metadata.labels?.["metallb.io/service-name"])).toEqual(["svc1"]);
  });

  it("two speakers that both think they lead do not fight at full speed, and one object is left when one gives in", async () => {
    const { api, clock, speaker } = setUp();
    const one = await speaker("node1");
    const two = await speaker("node2");
    for (const each of [one, two]) {
      each.writer.start();
      each.announce("default/svc1");
    }
    await clock.advance(5_000);
    const before = api.calls.length;
    await clock.advance(60_000);
    const writes = api.calls.slice(before).filter(({ verb }) => verb !== "list" && verb !== "watch").length;
    expect(writes / 60).toBeLessThan(8);
    one.withdraw("default/svc1");
    await clock.advance(5_000);
    expect(nodesIn(api)).toEqual(["node2"]);
  });

  it("deletes the object of a Service that went while the API server was gone, once it is back", async () => {
    const { api, clock, speaker } = setUp();
    const one = await speaker("node1");
    one.writer.start();
    one.announce("default/svc1");
    await clock.advance(5_000);
    api.outage(true);
    one.withdraw("default/svc1");
    await clock.advance(60_000);
    expect(nodesIn(api)).toEqual(["node1"]);
    api.outage(false);
    await clock.advance(20_000);
    expect(nodesIn(api)).toEqual([]);
  });

  it("has nothing to do with what other nodes write about Services that it does not announce", async () => {
    const { api, clock, speaker } = setUp();
    const one = await speaker("node1");
    const two = await speaker("node2");
    one.writer.start();
    two.writer.start();
    two.announce("default/svc1");
    await clock.advance(5_000);
    expect(one.worked).toEqual([]);
    expect(two.worked).not.toEqual([]);
    expect(nodesIn(api)).toEqual(["node2"]);
  });

  it("finishes an object whose status was never written", async () => {
    const { api, clock, speaker } = setUp();
    api.failNext({ verb: "patch", plural: "servicel2statuses", error: new KubeError({ code: 500, reason: "InternalError", message: "no" }) });
    const one = await speaker("node1");
    one.writer.start();
    one.announce("default/svc1");
    await clock.advance(5_000);
    expect(nodesIn(api)).toEqual(["node1"]);
    expect(api.calls.filter((call) => call.verb === "create")).toHaveLength(1);
  });

  it("writes it again after somebody deleted it, without haste", async () => {
    const { api, clock, speaker } = setUp();
    const one = await speaker("node1");
    one.writer.start();
    one.announce("default/svc1");
    await clock.advance(5_000);
    const [object] = api.peekAll(serviceL2Statuses);
    api.remove(serviceL2Statuses, { namespace, name: object?.metadata.name ?? "" });
    await clock.advance(500);
    expect(nodesIn(api)).toEqual([]);
    await clock.advance(5_000);
    expect(nodesIn(api)).toEqual(["node1"]);
  });

  it("sits an outage out without a flood, then writes", async () => {
    const { api, clock, speaker } = setUp();
    const one = await speaker("node1");
    one.writer.start();
    api.outage(true);
    const before = api.calls.length;
    for (let index = 0; index < 20; index += 1) one.announce(`default/svc${index}`);
    await clock.advance(30_000);
    const tried = api.calls.slice(before).filter((call) => call.verb === "create").length;
    expect(tried).toBeGreaterThan(20);
    // At most one try a second for each, and those of the first second.
    expect(tried).toBeLessThan(20 * 70);
    api.outage(false);
    await clock.advance(15_000);
    expect(nodesIn(api)).toHaveLength(20);
  });

  it("writes a thousand, each once, a few at a time", async () => {
    const { api, clock, speaker } = setUp();
    const one = await speaker("node1");
    for (let index = 0; index < 1_000; index += 1) one.announce(`default/svc${index}`);
    one.writer.start();
    // No timer is involved in the good case: time need not pass, only turns of the event loop.
    for (let turn = 0; turn < 600; turn += 1) await clock.advance(0);
    expect(api.peekAll(serviceL2Statuses)).toHaveLength(1_000);
    expect(api.calls.filter((call) => call.verb === "create")).toHaveLength(1_000);
  });
});
