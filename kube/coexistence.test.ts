import assert from "node:assert/strict";
import { beforeEach, test } from "vitest";
import { FakeClock, settle } from "../sys/fake-clock.ts";
import type { LogFields, Logger } from "../sys/log.ts";
import { KubeError } from "./client.ts";
import { AloneCheck, findMetalLb, warnOnPod } from "./coexistence.ts";
import type { EventRecorder } from "./event-recorder.ts";
import { FakeKubeClient } from "./fake-client.ts";
import { type Container, pods, services, validatingWebhooks } from "./objects.ts";

const namespace = "metallb-system";
const chartLabels = { "app.kubernetes.io/name": "metallb", "app.kubernetes.io/component": "speaker" };
let client = new FakeKubeClient();
beforeEach(() => {
  client = new FakeKubeClient();
});

function pod(name: string, container: Container, options: { namespace?: string; labels?: Record<string, string>; phase?: string; deletionTimestamp?: string } = {}): void {
  const { deletionTimestamp } = options;
  client.put(pods, { metadata: { name, namespace: options.namespace ?? namespace, labels: options.labels ?? chartLabels, ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }) }, spec: { containers: [container] }, status: { phase: options.phase ?? "Running" } });
}

function webhooks(service: string): void {
  client.put(validatingWebhooks, { metadata: { name: "metallb-webhook-configuration" }, webhooks: [{ clientConfig: { service: { namespace: service, name: "metallb-webhook-service" } } }] });
}

const wallMs = Date.UTC(2026, 0, 1);
const find = (): Promise<string | undefined> => findMetalLb({ client, namespace, wallMs });
const speaker = { name: "speaker", image: "quay.io/metallb/speaker:v0.15.3", args: ["--port=7472"] };
const forbidden = new KubeError({ code: 403, reason: "Forbidden", message: "no" });

test("Herald's own Pods, and nothing at all, are not MetalLB", async () => {
  assert.equal(await find(), undefined);
  pod("speaker-a", { name: "speaker", image: "herald:0.1.0", args: ["/opt/herald/speaker.mjs", "--port=9120"] });
  pod("speaker-b", { name: "speaker", image: "example.com/metallb/herald:0.1.0", args: ["/opt/herald/speaker.mjs"] });
  pod("speaker-c", { name: "speaker", image: "herald:lab" });
  pod("other", { name: "web", image: "example.com/metallb-docs" });
  webhooks(namespace);
  assert.equal(await find(), undefined);
});

test("a Pod with MetalLB's labels and image is MetalLB, from the chart, from manifests, from a mirror; one that ended is not", async () => {
  for (const [labels, container] of [
    [chartLabels, speaker],
    [{ app: "metallb", component: "controller" }, { name: "controller", image: "quay.io/metallb/controller@sha256:00" }],
    [chartLabels, { name: "metallb-speaker", image: "docker.io/bitnami/metallb-speaker:0.14" }],
    [chartLabels, { name: "speaker", image: "rancher/mirrored-metallb-speaker:v0.15.2" }],
  ] as const) {
    client = new FakeKubeClient();
    pod("x", container, { labels });
    assert.equal(await find(), `MetalLB runs in this cluster: the Pod metallb-system/x has the image ${container.image}.`);
    pod("x", container, { labels, phase: "Succeeded" });
    assert.equal(await find(), undefined);
  }
});

test("webhooks that point to another namespace lead there; where its Pods may not be read they are evidence enough", async () => {
  webhooks("lb");
  assert.equal(await find(), undefined, "nothing runs there");
  pod("speaker-x", speaker, { namespace: "lb" });
  assert.match((await find()) ?? "", /Pod lb\/speaker-x /);
  const list = client.list.bind(client);
  client.list = (type, options) => (type.plural === "pods" && options?.namespace === "lb" ? Promise.reject(forbidden) : list(type, options));
  client.put(services, { metadata: { name: "metallb-webhook-service", namespace: "lb" }, spec: {} });
  assert.match((await find()) ?? "", /^MetalLB is installed in the namespace lb: /);
  client.remove(services, { name: "metallb-webhook-service", namespace: "lb" });
  assert.equal(await find(), undefined, "a configuration that was left behind when the namespace was deleted");
  client.list = (_type, options) => (options?.namespace === "lb" ? Promise.reject(forbidden) : Promise.resolve({ items: [], resourceVersion: "1" }));
  assert.match((await find()) ?? "", /^MetalLB is installed in the namespace lb: /);
});

test("a Pod of MetalLB's that should have gone long ago is on a node that is lost: it keeps nobody from working", async () => {
  const at = (ms: number): string => new Date(wallMs + ms).toISOString();
  pod("speaker-x", speaker, { deletionTimestamp: at(-59_000) });
  assert.match((await find()) ?? "", /speaker-x/, "it may still be ending");
  pod("speaker-x", speaker, { deletionTimestamp: at(-61_000) });
  assert.equal(await find(), undefined);
  pod("speaker-y", speaker);
  assert.match((await find()) ?? "", /speaker-y/);
});

test("without rights to look, nothing is evidence", async () => {
  client.failNext({ verb: "list", plural: "pods", times: 2, error: forbidden });
  client.failNext({ verb: "get", plural: "validatingwebhookconfigurations", error: forbidden });
  assert.equal(await find(), undefined);
});

test("Herald waits until MetalLB is gone, says why once, and an API server that is away decides nothing", async () => {
  const clock = new FakeClock();
  const lines: [string, LogFields | undefined][] = [];
  const note = (...line: [string, LogFields?]): void => void lines.push([line[0], line[1]]);
  const log: Logger = { debug: note, info: note, warn: note, error: note };
  const told: string[] = [];
  pod("speaker-x", speaker);
  const check = new AloneCheck({ client, clock, log, namespace, onFound: (sentence) => void told.push(sentence) });
  assert.match(check.problem ?? "", /not known yet/);
  let alone = false;
  void check.whenAlone().then(() => (alone = true));
  await clock.advance(60_000);
  assert.equal(alone, false);
  assert.equal(told.length, 1);
  assert.match(check.problem ?? "", /speaker-x has the image .* Herald does nothing beside it: uninstall MetalLB/);
  client.outage(true);
  client.remove(pods, { namespace, name: "speaker-x" });
  await clock.advance(60_000);
  assert.equal(alone, false);
  client.outage(false);
  await clock.advance(5_000);
  assert.deepEqual([alone, check.problem], [true, undefined]);
  assert.deepEqual(lines.map(([event]) => event).filter((event) => event !== "metalLbUnknown"), ["metalLbRuns", "metalLbGone"]);
  pod("speaker-x", speaker);
  await clock.advance(60_000);
  assert.equal(check.problem, undefined, "what works is not stopped");
});

test("our own Pod gets an event, with its uid where it may be read", async () => {
  const told: unknown[] = [];
  const recorder = { event: (...[{ kind, name, uid }, body]: Parameters<EventRecorder["event"]>) => void told.push([kind, name, uid, body.reason]) };
  const stored = client.put(pods, { metadata: { name: "controller-1", namespace } });
  const warn = warnOnPod({ client, recorder, namespace, podName: "controller-1" });
  warn("x");
  await settle();
  client.failNext({ verb: "get", error: forbidden });
  warn("x");
  warnOnPod({ client, recorder, namespace, podName: "" })("x");
  await settle();
  assert.deepEqual(told, [["Pod", "controller-1", stored.metadata.uid, "MetalLBRuns"], ["Pod", "controller-1", undefined, "MetalLBRuns"]]);
});

test("an API server that is away at first is asked until it answers", async () => {
  const clock = new FakeClock();
  const check = new AloneCheck({ client, clock, log: { debug() {}, info() {}, warn() {}, error() {} }, namespace });
  client.outage(true);
  assert.equal(await check.look(), "unknown");
  const waiting = check.whenAlone();
  await clock.advance(10_000);
  client.outage(false);
  await clock.advance(5_000);
  await waiting;
});
