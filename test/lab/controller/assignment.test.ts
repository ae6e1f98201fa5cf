import assert from "node:assert/strict";
import { afterEach, expect, test } from "vitest";
import { clear, describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import { WITHIN, addressOf, addressesOfAll, assignmentOf, eventsOf, expectAddress, expectRefusal, serviceOf } from "../observe.ts";
import { pool } from "../resources.ts";
import { service } from "../walkthrough/manifests.ts";

const POOL_ANNOTATION = "metallb.io/ip-allocated-from-pool";

describeOnLab("which address a Service gets", { name: "assign", nodes: 1, herald: { controllers: 1 } }, (lab) => {
  afterEach(() => clear(lab()));

  test("ranges and CIDRs, from the lowest address up, without .0 and .255 where the pool avoids them", async () => {
    await lab().apply(pool("range", ["172.20.250.254 - 172.20.251.1"], { avoidBuggyIPs: true }) + pool("cidr", ["172.20.252.4/31"], { autoAssign: false }));
    await lab().apply(service({ name: "first" }));
    await expectAddress(lab(), "first", "172.20.250.254");
    await lab().apply(service({ name: "second" }));
    await expectAddress(lab(), "second", "172.20.251.1");
    await lab().apply(service({ name: "third" }));
    await expectRefusal(lab(), "third", { status: "False", reason: "NoFreeAddress", event: "AllocationFailed", says: /no available IPs/ });
    for (const [name, address] of [["named", "172.20.252.4"], ["named-too", "172.20.252.5"]] as const) {
      await lab().apply(service({ name, annotations: { "metallb.io/address-pool": "cidr" } }));
      await expectAddress(lab(), name, address);
      assert.equal((await serviceOf(lab(), name)).metadata.annotations?.[POOL_ANNOTATION], "cidr");
    }
    assert.equal(await addressOf(lab(), "third"), undefined, "a pool without autoAssign is for those who name it");
  });

  test("a Service with an IPv6 cluster address gets an IPv6 address", async () => {
    await lab().apply(pool("both", ["172.20.250.0/28", "fd00:20:0:ff::10-fd00:20:0:ff::1f"]));
    await lab().apply(service({ name: "six", serviceSpec: ["ipFamilies: [IPv6]", "ipFamilyPolicy: SingleStack"] }));
    await expectAddress(lab(), "six", "fd00:20:0:ff::10");
    await lab().apply(service({ name: "four" }));
    await expectAddress(lab(), "four", "172.20.250.0");
  });

  test("the address that is asked for, by spec.loadBalancerIP and by both annotations", async () => {
    await lab().apply(pool("wide", ["172.20.250.0/24"]));
    await lab().apply(service({ name: "by-spec", serviceSpec: ["loadBalancerIP: 172.20.250.77"] }));
    await lab().apply(service({ name: "by-annotation", annotations: { "metallb.io/loadBalancerIPs": "172.20.250.78" } }));
    await lab().apply(service({ name: "by-legacy", annotations: { "metallb.universe.tf/loadBalancerIPs": "172.20.250.79" } }));
    await lab().apply(service({ name: "new-wins", annotations: { "metallb.io/loadBalancerIPs": "172.20.250.80", "metallb.universe.tf/loadBalancerIPs": "172.20.250.81" } }));
    await expectAddress(lab(), "by-spec", "172.20.250.77");
    await expectAddress(lab(), "by-annotation", "172.20.250.78");
    await expectAddress(lab(), "by-legacy", "172.20.250.79");
    await expectAddress(lab(), "new-wins", "172.20.250.80");
    await eventually(async () => expect((await eventsOf(lab(), "by-legacy")).join("\n")).toMatch(/deprecatedAnnotation .*metallb\.universe\.tf\/loadBalancerIPs/), { ...WITHIN, what: "an event about the old annotation" });
    // Asking for another one moves the Service.
    await lab().kubectl(["annotate", "service", "by-annotation", "metallb.io/loadBalancerIPs=172.20.250.90", "--overwrite", "-n", "default"]);
    await expectAddress(lab(), "by-annotation", "172.20.250.90");
  });

  test("requests that cannot be met: event and condition say why, and nothing else moves", async () => {
    await lab().apply(pool("small", ["172.20.250.10-172.20.250.19"]) + pool("other", ["172.20.251.0/28"], { autoAssign: false }));
    for (const name of ["a", "b"]) {
      await lab().apply(service({ name }));
      await expectAddress(lab(), name);
    }
    const before = await addressesOfAll(lab());
    const refusals = [
      { name: "outside", annotations: { "metallb.io/loadBalancerIPs": "192.0.2.1" }, reason: "AddressNotInPool", event: "AllocationFailed", says: /\["192\.0\.2\.1"\] is not allowed in config/ },
      { name: "taken", annotations: { "metallb.io/loadBalancerIPs": "172.20.250.10" }, reason: "AddressInUse", event: "AllocationFailed", says: /172\.20\.250\.10 is already in use by default\/a/ },
      { name: "malformed", annotations: { "metallb.io/loadBalancerIPs": "172.20.250.300" }, reason: "InvalidRequest", event: "LoadBalancerFailed", says: /invalid requested loadbalancer IPs: .*172\.20\.250\.300/ },
      { name: "wrong-family", annotations: { "metallb.io/loadBalancerIPs": "fd00:20::77" }, reason: "FamilyMismatch", event: "AllocationFailed", says: /does not match the ipFamily/ },
      { name: "unknown-pool", annotations: { "metallb.io/address-pool": "nowhere" }, reason: "UnknownPool", event: "AllocationFailed", says: /unknown pool "nowhere"/ },
      { name: "not-there", annotations: { "metallb.io/address-pool": "other", "metallb.io/loadBalancerIPs": "172.20.250.15" }, reason: "AddressNotInRequestedPool", event: "AllocationFailed", says: /not compatible with requested address pool other/ },
    ];
    await lab().apply(refusals.map(({ name, annotations }) => service({ name, annotations })).join("---\n"));
    await lab().apply(service({ name: "twice", serviceSpec: ["loadBalancerIP: 172.20.250.15"], annotations: { "metallb.io/loadBalancerIPs": "172.20.250.15" } }));
    for (const { name, reason, event, says } of refusals) {
      await expectRefusal(lab(), name, { status: "False", reason, event, says });
      assert.equal(await addressOf(lab(), name), undefined);
    }
    await expectRefusal(lab(), "twice", { status: "False", reason: "InvalidRequest", event: "LoadBalancerFailed", says: /can not have both/ });
    const after = await addressesOfAll(lab());
    for (const [name, address] of before) assert.equal(after.get(name), address, name);
    // A request that is mended is met.
    await lab().kubectl(["annotate", "service", "outside", "metallb.io/loadBalancerIPs=172.20.250.17", "--overwrite", "-n", "default"]);
    await expectAddress(lab(), "outside", "172.20.250.17");
    await eventually(async () => assert.equal((await assignmentOf(lab(), "outside"))?.reason, "Assigned"), { ...WITHIN, what: "the condition says that it is mended" });
  });

  test("a Service that has an address and asks for an impossible one keeps what it has, and is told", async () => {
    await lab().apply(pool("small", ["172.20.250.10-172.20.250.19"]));
    for (const name of ["holder", "neighbour"]) {
      await lab().apply(service({ name }));
      await expectAddress(lab(), name);
    }
    const impossible = [["192.0.2.1", /192\.0\.2\.1.* is not allowed in config/], ["172.20.250.11", /already in use by default\/neighbour/], ["nonsense", /invalid requested loadbalancer IPs/]] as const;
    for (const [address, says] of impossible) {
      await lab().kubectl(["annotate", "service", "holder", `metallb.io/loadBalancerIPs=${address}`, "--overwrite", "-n", "default"]);
      const event = address === "nonsense" ? "LoadBalancerFailed" : "AllocationFailed";
      await expectRefusal(lab(), "holder", { status: "True", reason: "RequestRefused", event, says });
      assert.equal(await addressOf(lab(), "holder"), "172.20.250.10");
      assert.equal(await addressOf(lab(), "neighbour"), "172.20.250.11");
    }
    await lab().kubectl(["annotate", "service", "holder", "metallb.io/loadBalancerIPs-", "-n", "default"]);
    await eventually(async () => assert.equal((await assignmentOf(lab(), "holder"))?.reason, "Assigned"), { ...WITHIN, what: "the condition is well again" });
    assert.equal(await addressOf(lab(), "holder"), "172.20.250.10");
  });

  test("one address for two: it passes on when its holder becomes ClusterIP, and when its holder is deleted", async () => {
    await lab().apply(pool("single", ["172.20.250.10/32"]));
    await lab().apply(service({ name: "holder" }));
    await expectAddress(lab(), "holder", "172.20.250.10");
    await lab().apply(service({ name: "waiting" }));
    await expectRefusal(lab(), "waiting", { status: "False", reason: "NoFreeAddress", event: "AllocationFailed", says: /no available IPs/ });
    await lab().kubectl(["patch", "service", "holder", "-n", "default", "--type=merge", "-p", JSON.stringify({ spec: { type: "ClusterIP", externalTrafficPolicy: null } })]);
    await expectAddress(lab(), "waiting", "172.20.250.10");
    await eventually(async () => {
      const found = await serviceOf(lab(), "holder");
      assert.deepEqual(found.status.loadBalancer, {});
      assert.equal(found.metadata.annotations?.[POOL_ANNOTATION], undefined);
      assert.equal(await assignmentOf(lab(), "holder"), undefined);
    }, { ...WITHIN, what: "nothing of Herald's is left on the ClusterIP Service" });
    await lab().apply(service({ name: "next" }));
    await expectRefusal(lab(), "next", { status: "False", reason: "NoFreeAddress", event: "AllocationFailed", says: /no available IPs/ });
    await lab().kubectl(["delete", "service", "waiting", "-n", "default"]);
    await expectAddress(lab(), "next", "172.20.250.10");
  });

  test("a Service of another class is left as it is, even with an address of ours in its status", async () => {
    await lab().apply(pool("small", ["172.20.250.10-172.20.250.19"]));
    await lab().apply(service({ name: "foreign", serviceSpec: ["loadBalancerClass: example.com/other"] }));
    await lab().kubectl(["patch", "service", "foreign", "-n", "default", "--subresource=status", "--type=merge", "-p", JSON.stringify({ status: { loadBalancer: { ingress: [{ ip: "172.20.250.19" }] } } })]);
    const before = await serviceOf(lab(), "foreign");
    // One that comes later is served: by then the one before it was looked at.
    await lab().apply(service({ name: "ours" }));
    await expectAddress(lab(), "ours", "172.20.250.10");
    assert.deepEqual(await serviceOf(lab(), "foreign"), before);
    assert.deepEqual(await eventsOf(lab(), "foreign"), []);
  });
});
