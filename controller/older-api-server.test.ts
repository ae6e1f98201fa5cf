import assert from "node:assert/strict";
import { test } from "vitest";
import type { KubeClient } from "../kube/client.ts";
import { World } from "./fake-world.ts";

/** The API server as it was before Kubernetes 1.29: of a Service's status it drops the field `ipMode`, which it does not know. */
function beforeIpMode(client: KubeClient): KubeClient {
  return new Proxy(client, {
    get(target, name): unknown {
      if (name === "patch") return (...[type, object, patch, options]: Parameters<KubeClient["patch"]>) => target.patch(type, object, withoutIpMode(patch), options);
      const member: unknown = Reflect.get(target, name);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

function withoutIpMode(patch: object): object {
  return JSON.parse(JSON.stringify(patch, (key, value: unknown) => (key === "ipMode" ? undefined : value))) as object;
}

test("on an API server that drops ipMode, every Service is written once, whatever happens afterwards", async () => {
  const world = new World();
  world.pool("p", ["10.0.0.1-10.0.0.9"]);
  world.service("a");
  world.service("b");
  await world.lead({ client: beforeIpMode(world.client) });
  assert.deepEqual([world.ip("a"), world.ip("b")], ["10.0.0.1", "10.0.0.2"]);
  assert.deepEqual(world.get("a").status?.loadBalancer, { ingress: [{ ip: "10.0.0.1" }] });
  assert.equal(world.patches(), 2);
  const events = world.events("a").length;
  world.change("a", ({ metadata }) => void (metadata.labels = { touched: "yes" }));
  world.pool("another", ["10.0.1.0/24"]);
  await world.settle(120_000);
  assert.equal(world.patches(), 2);
  assert.equal(world.events("a").length, events);
});

test("the mode that others wrote is put right where it is known", async () => {
  const world = new World();
  world.pool("p", ["10.0.0.1-10.0.0.9"]);
  world.service("a");
  await world.lead();
  world.change("a", ({ status }) => void (status ?? assert.fail()).loadBalancer?.ingress?.forEach((entry) => void (entry.ipMode = "Proxy")));
  await world.settle();
  assert.deepEqual(world.get("a").status?.loadBalancer, { ingress: [{ ip: "10.0.0.1", ipMode: "VIP" }] });
});
