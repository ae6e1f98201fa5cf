import { beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_GATEWAYS } from "../config/default-gateways.ts";
import { KubeError } from "../kube/client.ts";
import { configurationStates, ipAddressPools, nodes, type ResourceType } from "../kube/objects.ts";
import { NAMESPACE, World } from "./fake-world.ts";

/** As long as news of gateways are gathered. */
const GATHER = 6_000;
/** As long as the word of a speaker that is gone counts. */
const LINGER = 36_000;

let world: World;
beforeEach(() => {
  world = new World();
});

function node(name: string, ...addresses: string[]): void {
  world.client.put(nodes, { metadata: { name }, status: { addresses: [{ type: "Hostname", address: "10.0.0.3" }, ...addresses.map((address) => ({ type: "InternalIP", address }))] } });
}

/** What a node's speaker tells. */
function gateways(name: string, text: string): void {
  world.client.put(configurationStates, { metadata: { namespace: NAMESPACE, name: `speaker-${name}`, annotations: { [DEFAULT_GATEWAYS]: text } }, status: { result: "Valid" } });
}

function dropState(name: string): void {
  world.client.remove(configurationStates, { namespace: NAMESPACE, name: `speaker-${name}` });
}

function warning(pool: string): string | undefined {
  const found = world.poolStatus(pool).conditions?.find(({ type }) => type === "OverlapsNodes");
  return found === undefined ? undefined : `${found.status} ${found.reason}: ${found.message}`;
}

const writes = (): number => world.patches(ipAddressPools.plural);

describe("a pool with an address of a Node in it", () => {
  it("gets a warning, which ends with the overlap", async () => {
    world.pool("p", ["10.0.0.1-10.0.0.9", "fd00::/120"]);
    world.pool("q", ["10.1.0.1/32"]);
    node("one", "10.0.0.7", "fd00::1");
    node("two", "10.9.0.7");
    await world.lead();
    expect(warning("p")).toBe("True NodeAddressInPool: 10.0.0.7 (in 10.0.0.1-10.0.0.9) is an address of node one; fd00::1 (in fd00::/120) is an address of node one; a Service that gets such an address takes it away from the node");
    expect(warning("q")).toBeUndefined();
    const before = writes();
    node("two", "10.9.0.7");
    await world.settle();
    expect(writes()).toBe(before);
    node("one", "192.0.2.7");
    await world.settle();
    expect(warning("p")).toMatch(/^False NoOverlap/);
    world.pool("q", ["10.9.0.0/24"]);
    await world.settle();
    expect(warning("q")).toMatch(/^True .*10\.9\.0\.7 \(in 10\.9\.0\.0\/24\) is an address of node two/);
  });
});

describe("a pool with a default gateway in it", () => {
  const GATEWAY = "True GatewayInPool: 10.0.0.1 (in 10.0.0.1-10.0.0.9) is the default gateway of";
  const TAIL = "; a Service that gets such an address takes it away from the gateway";

  beforeEach(() => {
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    for (const name of ["one", "two"]) node(name);
  });

  it("gets a warning that names the gateway, the range and the nodes, and goes on giving addresses", async () => {
    gateways("two", "10.0.0.1");
    gateways("one", "10.0.0.1,192.0.2.1");
    await world.lead();
    expect(warning("p")).toBe(`${GATEWAY} nodes one and two${TAIL}`);
    world.service("s");
    await world.settle();
    expect(world.ip("s")).toBe("10.0.0.1");
  });

  it("is warned of soon after a speaker tells it, and no longer when the pool has changed", async () => {
    await world.lead();
    expect(warning("p")).toBeUndefined();
    gateways("one", "10.0.0.1");
    await world.settle(GATHER);
    expect(warning("p")).toBe(`${GATEWAY} node one${TAIL}`);
    world.pool("p", ["10.0.0.2-10.0.0.9"]);
    await world.settle();
    expect(warning("p")).toMatch(/^False NoOverlap/);
  });

  it("tells of addresses of nodes besides", async () => {
    node("two", "10.0.0.7");
    gateways("one", "10.0.0.1");
    await world.lead();
    expect(warning("p")).toBe("True NodeAddressInPool: 10.0.0.1 (in 10.0.0.1-10.0.0.9) is the default gateway of node one; 10.0.0.7 (in 10.0.0.1-10.0.0.9) is an address of node two; a Service that gets such an address takes it away from the node or the gateway");
  });

  it.each([
    ["the gateway changes", GATHER, () => gateways("one", "10.1.0.1")],
    ["the node has none any more", GATHER, () => gateways("one", "")],
    ["the annotation goes", GATHER, () => world.client.put(configurationStates, { metadata: { namespace: NAMESPACE, name: "speaker-one" } })],
    ["the ConfigurationState is deleted", LINGER, () => dropState("one")],
    ["the Node is deleted, whose ConfigurationState stays", 1_000, () => world.client.remove(nodes, { name: "one" })],
  ])("ends when %s", async (_title, within, change) => {
    gateways("one", "10.0.0.1");
    await world.lead();
    expect(warning("p")).toBe(`${GATEWAY} node one${TAIL}`);
    change();
    await world.settle(within);
    expect(warning("p")).toMatch(/^False NoOverlap/);
  });

  it("counts again when the Node comes back", async () => {
    gateways("one", "10.0.0.1");
    await world.lead();
    world.client.remove(nodes, { name: "one" });
    await world.settle();
    node("one");
    await world.settle();
    expect(warning("p")).toBe(`${GATEWAY} node one${TAIL}`);
  });

  it("is not written again while nothing changes, nor while a speaker is restarted", async () => {
    gateways("one", "10.0.0.1");
    await world.lead();
    const before = writes();
    await world.settle(600_000);
    for (let round = 0; round < 10; round++) {
      dropState("one");
      await world.settle(20_000);
      gateways("one", "10.0.0.1");
      await world.settle(60_000);
    }
    expect(writes() - before).toBe(0);
  });

  it("is written now and then when the annotation is changed all the time", async () => {
    await world.lead();
    const before = writes();
    for (let round = 0; round < 1_000; round++) {
      gateways("one", round % 3 === 0 ? "10.0.0.1" : `10.0.0.${(round % 7) + 2}`);
      await world.clock.advance(100);
    }
    expect(writes() - before).toBeLessThanOrEqual(100 / 5 + 1);
  });

  it("takes no harm from what people write into ConfigurationStates", async () => {
    for (const text of ["no address", "10.0.0.1/24;drop", `${"9".repeat(100_000)}`, "\u0000,,,,", "{}"]) gateways("one", text);
    for (const name of ["controller", "speaker", "", "speaker-", "speaker-nobody", "speaker-__proto__"]) {
      world.client.put(configurationStates, { metadata: { namespace: NAMESPACE, name, annotations: { [DEFAULT_GATEWAYS]: "10.0.0.1" } }, status: ["?"] });
    }
    gateways("two", Array.from({ length: 10_000 }, (_, index) => `10.0.0.${index % 10}`).join(","));
    await world.lead();
    expect(warning("p")).toMatch(/^True GatewayInPool: 10\.0\.0\.1 \(.*\) is the default gateway of node two; /);
    expect(warning("p")).not.toMatch(/node (one|nobody|__proto__)|nodes/);
  });

  it("names a few of many nodes and addresses", async () => {
    world.pool("p", ["10.0.0.0/16"]);
    for (let index = 0; index < 300; index++) {
      node(`n${String(index).padStart(3, "0")}`);
      gateways(`n${String(index).padStart(3, "0")}`, `10.0.0.1,10.0.1.${index % 200}`);
    }
    await world.lead();
    expect(warning("p")).toMatch(/^True GatewayInPool: 10\.0\.0\.1 \(in 10\.0\.0\.0\/16\) is the default gateway of nodes n000, n001, n002, n003, n004 and 295 more; .* and 185 more; a Service that gets such an address takes it away from the gateway$/);
  });
});

describe("a controller that takes over", () => {
  const failing = (type: Pick<ResourceType<never>, "plural">, times: number): void =>
    world.client.failNext({ verb: "list", plural: type.plural, error: new KubeError({ code: 503, reason: "ServiceUnavailable", message: "not now" }), times });

  it.each([nodes, configurationStates])("leaves a warning as it is until it knows the $plural", async (type) => {
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    node("one");
    gateways("one", "10.0.0.1");
    const first = await world.lead();
    const before = [writes(), warning("p")];
    await first.stop();
    failing(type, 3);
    await world.lead();
    await world.settle(20_000);
    expect([writes(), warning("p")]).toEqual(before);
  });

  it("does not wait long for a kind that the API server does not have", async () => {
    world.pool("p", ["10.0.0.1-10.0.0.9"]);
    failing(configurationStates, 1_000);
    await world.lead();
    await world.settle(6_000);
    expect(world.poolStatus("p").conditions?.map(({ type, status }) => `${type} ${status}`)).toEqual(["Valid True"]);
  });
});
