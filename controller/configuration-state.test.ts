/** The ConfigurationState object `controller`, as users and their hands find it. */
import { describe, expect, it } from "vitest";
import { configurationStates, type CustomResource, ipAddressPools } from "../kube/objects.ts";
import { NAMESPACE, World } from "./fake-world.ts";

const NAME = { namespace: NAMESPACE, name: "controller" };
const INVALID = {
  result: "Invalid",
  errorSummary: 'configuration error: IPAddressPool "p": spec.addresses[0]: invalid CIDR "10.0.0.0/33"',
  conditions: [{ type: "poolReconcilerValid", status: "False", reason: "ConfigurationError" }],
};
const VALID = { result: "Valid", errorSummary: "", conditions: [{ type: "poolReconcilerValid", status: "True", reason: "Reconciled" }] };

function state(world: World): CustomResource | undefined {
  return world.client.peek<CustomResource>(configurationStates, NAME);
}

async function edit(world: World, status: object): Promise<void> {
  await world.client.patch(configurationStates, NAME, { status }, { subresource: "status" });
  await world.settle();
}

describe("the controller's ConfigurationState", () => {
  it("bears MetalLB's name and label, says what is wrong, and is well again with the configuration", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.0/33"]);
    await world.lead();
    expect(state(world)).toMatchObject({ metadata: { name: "controller", labels: { "metallb.io/component-type": "controller" } }, status: INVALID });
    world.pool("q", ["x", "10.0.0.0/24"]);
    await world.settle();
    expect(state(world)?.status).toMatchObject({ result: "Invalid", errorSummary: `${INVALID.errorSummary}\nIPAddressPool "q": spec.addresses[0]: invalid CIDR "x"` });
    world.pool("p", ["10.0.1.0/24"]);
    world.dropPool("q");
    await world.settle();
    expect(state(world)?.status).toMatchObject(VALID);
  });

  it("without any pool the configuration is valid", async () => {
    const world = new World();
    await world.lead();
    expect(state(world)?.status).toMatchObject(VALID);
  });

  it.each([["invalid", ["10.0.0.0/33"], INVALID], ["valid", ["10.0.0.0/24"], VALID]] as const)("of an %s configuration is put right when it is edited, and made anew when it is deleted", async (_word, addresses, expected) => {
    const world = new World();
    world.pool("p", [...addresses]);
    await world.lead();
    for (const hand of [{ result: "Unknown" }, { errorSummary: "all is lost" }, { conditions: [] }, { conditions: null }, { conditions: [{ ...VALID.conditions[0], reason: "Hand", message: "", lastTransitionTime: "2026-01-01T00:00:00Z" }] }]) {
      await edit(world, hand);
      expect(state(world)?.status, JSON.stringify(hand)).toMatchObject(expected);
    }
    const patches = world.patches("configurationstates");
    await world.settle(60_000);
    expect(world.patches("configurationstates")).toBe(patches);
    world.client.remove(configurationStates, NAME);
    await world.settle();
    expect(state(world)?.status).toMatchObject(expected);
  });

  it("leaves a condition of somebody else's alone", async () => {
    const world = new World();
    world.pool("p", ["10.0.0.0/24"]);
    await world.lead();
    const foreign = { type: "example.com/Seen", status: "True", reason: "Yes", message: "", lastTransitionTime: "2026-01-01T00:00:00Z" };
    await edit(world, { conditions: [foreign] });
    expect(state(world)?.status).toMatchObject({ conditions: [foreign, VALID.conditions[0]] });
  });

  it("is not a word longer for megabytes of nonsense in a pool", async () => {
    const world = new World();
    world.client.put(ipAddressPools, { metadata: { namespace: NAMESPACE, name: "p", generation: 1 }, spec: { addresses: Array.from({ length: 10_000 }, () => "x".repeat(100)) } });
    await world.lead();
    const summary = (state(world)?.status as { errorSummary: string } | undefined)?.errorSummary ?? "";
    expect(summary.length).toBeGreaterThan(1000);
    expect(summary.length).toBeLessThan(5000);
  });
});
