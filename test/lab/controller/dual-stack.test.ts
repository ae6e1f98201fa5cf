import assert from "node:assert/strict";
import { afterEach, expect, test } from "vitest";
import { clear, describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import type { Lab } from "../lab.ts";
import { WITHIN, assignmentOf, eventsOf, serviceOf } from "../observe.ts";
import { pool } from "../resources.ts";
import { service } from "../walkthrough/manifests.ts";

const PREFER = ["ipFamilyPolicy: PreferDualStack"];
const REQUIRE = ["ipFamilyPolicy: RequireDualStack"];

describeOnLab("Services of two families", { name: "dualstack", nodes: 1, herald: { controllers: 1 } }, (lab) => {
  afterEach(() => clear(lab()));

  test("both addresses come from one pool, by policy and by request; without such a pool one is enough for PreferDualStack only", async () => {
    await lab().apply(pool("afour", ["172.20.250.10/32"]) + pool("both", ["172.20.251.10-172.20.251.19", "fd00:20:0:ff::10-fd00:20:0:ff::19"]));
    await lab().apply(service({ name: "prefer", serviceSpec: PREFER }) + "---\n" + service({ name: "asked", serviceSpec: REQUIRE, annotations: { "metallb.io/loadBalancerIPs": "fd00:20:0:ff::15,172.20.251.15" } }));
    await expectAddresses(lab(), "prefer", "172.20.251.10,fd00:20:0:ff::10");
    await expectAddresses(lab(), "asked", "fd00:20:0:ff::15,172.20.251.15");
    await clear(lab());
    await lab().apply(pool("afour", ["172.20.250.10-172.20.250.19"]) + pool("bsix", ["fd00:20:0:ff::10-fd00:20:0:ff::19"]));
    await lab().apply(["prefer", "prefer-six", "require"].map((name) => service({ name, serviceSpec: [...(name === "require" ? REQUIRE : PREFER), ...(name === "prefer-six" ? ["ipFamilies: [IPv6, IPv4]"] : [])] })).join("---\n"));
    await expectAddresses(lab(), "prefer", "172.20.250.10");
    await expectAddresses(lab(), "prefer-six", "fd00:20:0:ff::10");
    await eventually(async () => assert.equal((await assignmentOf(lab(), "require"))?.reason, "PoolHasNoSuchFamily"), { ...WITHIN, what: "no pool has both for RequireDualStack" });
  });

  test("a pool that gets its second family gives the Service the second address, and the first one stays", async () => {
    await lab().apply(pool("main", ["172.20.250.10-172.20.250.19"]));
    await lab().apply(service({ name: "web", serviceSpec: PREFER }));
    await expectAddresses(lab(), "web", "172.20.250.10");
    await lab().apply(pool("main", ["172.20.250.10-172.20.250.19", "fd00:20:0:ff::10-fd00:20:0:ff::19"]));
    await expectAddresses(lab(), "web", "172.20.250.10,fd00:20:0:ff::10");
    await eventually(async () => expect((await eventsOf(lab(), "web")).join("\n")).toMatch(/IPAllocated .*Assigned additional IP "fd00:20:0:ff::10"/), { ...WITHIN, what: "an event" });
    // And when it loses it again while another pool has both, both addresses come from there.
    await lab().apply(pool("other", ["172.20.251.10/32", "fd00:20:0:fe::10/128"]));
    await lab().apply(pool("main", ["172.20.250.10-172.20.250.19"]));
    await expectAddresses(lab(), "web", "172.20.251.10,fd00:20:0:fe::10");
  });

  test("a live Service changes its policy: one family to two keeps the address, two on a pool of one costs it, back it returns", async () => {
    await lab().apply(pool("main", ["172.20.250.10-172.20.250.19"]));
    await lab().apply(service({ name: "web" }));
    await expectAddresses(lab(), "web", "172.20.250.10");
    const policy = (ipFamilyPolicy: string, rest: object = {}): Promise<unknown> =>
      lab().kubectl(["patch", "service", "web", "-n", "default", "--type=merge", "-p", JSON.stringify({ spec: { ipFamilyPolicy, ...rest } })]);
    await policy("PreferDualStack");
    await eventually(async () => assert.equal((await lab().get("service", "default", "web") as { spec: { clusterIPs: string[] } }).spec.clusterIPs.length, 2), { ...WITHIN, what: "two cluster addresses" });
    await expectAddresses(lab(), "web", "172.20.250.10");
    await policy("RequireDualStack");
    await expectAddresses(lab(), "web", "");
    await eventually(async () => assert.equal((await assignmentOf(lab(), "web"))?.status, "False"), { ...WITHIN, what: "the condition says so" });
    await policy("PreferDualStack");
    await expectAddresses(lab(), "web", "172.20.250.10");
    await lab().apply(pool("main", ["172.20.250.10-172.20.250.19", "fd00:20:0:ff::10/128"]));
    await policy("RequireDualStack");
    await expectAddresses(lab(), "web", "172.20.250.10,fd00:20:0:ff::10");
    await policy("SingleStack", { ipFamilies: ["IPv4"] });
    await expectAddresses(lab(), "web", "172.20.250.10");
  });
});

function expectAddresses(lab: Lab, name: string, expected: string): Promise<void> {
  return eventually(async () => {
    const { ingress = [] } = (await serviceOf(lab, name)).status.loadBalancer;
    assert.equal(ingress.map(({ ip }) => ip).join(","), expected, `addresses of ${name}`);
  }, { ...WITHIN, what: `${name} has ${expected === "" ? "none" : expected}` });
}
