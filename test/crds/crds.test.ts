/** The custom resources on a real API server: what it takes, what it refuses, what it fills in and how it prints. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { load } from "js-yaml";
import { startApiServer, type ApiServer, type KubectlResult } from "../apiserver/api-server.ts";
import { findApiServerBinaries } from "../apiserver/binaries.ts";
import { accepted, manifest, refused, type Manifest } from "./objects.ts";

const CRDS = join(import.meta.dirname, "../../crds");
const PLURALS = ["bfdprofiles", "bgpadvertisements", "bgppeers", "communities", "configurationstates", "ipaddresspools", "l2advertisements", "servicebgpstatuses", "servicel2statuses"];
const found = findApiServerBinaries();

describe.skipIf(found.kind === "missing")(`custom resources${found.kind === "missing" ? ` (${found.reason})` : ""}`, () => {
  let server: ApiServer;

  beforeAll(async () => {
    server = await startApiServer();
    await run("apply", "-f", CRDS);
    await run("wait", "--for=condition=Established", "--timeout=30s", ...PLURALS.map((plural) => `crd/${plural}.metallb.io`));
  });
  afterAll(() => server?.stop());

  /** Runs kubectl, which must succeed. */
  async function run(...args: string[]): Promise<KubectlResult> {
    const result = await server.kubectl(args);
    expect(result, result.stderr).toMatchObject({ code: 0 });
    return result;
  }

  async function apply(object: Manifest, ...flags: string[]): Promise<KubectlResult> {
    return server.kubectl(["apply", ...flags, "-f", "-"], { input: JSON.stringify(object) });
  }

  async function mustApply(object: Manifest): Promise<void> {
    expect(await apply(object)).toMatchObject({ code: 0 });
  }

  async function get(resource: string, name = "x"): Promise<{ spec?: unknown; status?: unknown }> {
    return JSON.parse((await run("get", resource, name, "-o", "json")).stdout) as { spec?: unknown; status?: unknown };
  }

  function patchStatus(resource: string, status: unknown): Promise<KubectlResult> {
    return server.kubectl(["patch", resource, "x", "--subresource=status", "--type=merge", "-p", JSON.stringify({ status })]);
  }

  /** Cells of the table, split where the columns start. */
  async function printed(resource: string, ...flags: string[]): Promise<{ header: string; row: string }> {
    const [header = "", row = ""] = (await run("get", resource, ...flags)).stdout.split("\n");
    return { header: header.trim().replaceAll(/ {2,}/g, " | "), row: row.trim().replaceAll(/ {2,}/g, " | ") };
  }

  it("are one file per kind, namespaced, without short names and categories", async () => {
    const files = readdirSync(CRDS).filter((file) => file.endsWith(".yaml"));
    expect(files).toHaveLength(PLURALS.length);
    const names = files.map((file) => {
      const crd = load(readFileSync(join(CRDS, file), "utf8")) as { spec: { scope: string; names: Record<string, unknown> } };
      expect(crd.spec.scope).toBe("Namespaced");
      expect(Object.keys(crd.spec.names).sort()).toEqual(["kind", "listKind", "plural", "singular"]);
      return String(crd.spec.names["plural"]);
    });
    expect(names.toSorted()).toEqual(PLURALS);
    const resources = (await run("api-resources", "--api-group=metallb.io", "--no-headers")).stdout.trim().split("\n").map((line) => line.split(/ +/));
    expect(resources.map(([plural, version, namespaced]) => [plural, version, namespaced])).toEqual(
      PLURALS.map((plural) => [plural, plural === "bgppeers" ? "metallb.io/v1beta2" : "metallb.io/v1beta1", "true"]));
  });

  it.each(accepted)("takes %s", async (_what, object) => {
    expect(await apply(object, "--dry-run=server")).toMatchObject({ code: 0 });
  });

  it.each(refused)("refuses %j: %s", async (object, message) => {
    const result = await apply(object, "--dry-run=server");
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain(message);
  });

  describe("once stored", () => {
    afterEach(async () => {
      await run("delete", PLURALS.join(","), "--all", "--wait=true");
    });

    it("fill in defaults", async () => {
      await mustApply(manifest("IPAddressPool", { addresses: ["10.0.0.0/24"] }));
      await mustApply(manifest("BGPAdvertisement", {}));
      await mustApply(manifest("BGPPeer", { myASN: 1, peerASN: 2, peerAddress: "10.0.0.1" }));
      expect((await get("ipaddresspools")).spec).toEqual({ addresses: ["10.0.0.0/24"], autoAssign: true, avoidBuggyIPs: false });
      expect((await get("bgpadvertisements")).spec).toEqual({ aggregationLength: 32, aggregationLengthV6: 128 });
      expect((await get("bgppeers")).spec).toEqual({ myASN: 1, peerASN: 2, peerAddress: "10.0.0.1", peerPort: 179, disableMP: false, dualStackAddressFamily: false });
    });

    it("print the columns of a pool and of an advertisement", async () => {
      await mustApply(manifest("IPAddressPool", { addresses: ["172.20.255.200-172.20.255.250"] }, { name: "my-ippool" }));
      await mustApply(manifest("L2Advertisement", { ipAddressPools: ["my-ippool"] }, { name: "my-l2-advertise" }));
      expect(await printed("ipaddresspools")).toEqual({
        header: "NAME | AUTO ASSIGN | AVOID BUGGY IPS | ADDRESSES",
        row: 'my-ippool | true | false | ["172.20.255.200-172.20.255.250"]',
      });
      expect(await printed("l2advertisements")).toEqual({ header: "NAME | IPADDRESSPOOLS | IPADDRESSPOOL SELECTORS | INTERFACES", row: 'my-l2-advertise | ["my-ippool"]' });
      await mustApply(manifest("L2Advertisement", { ipAddressPoolSelectors: [{ matchLabels: { a: "b" } }], interfaces: ["eth0"], nodeSelectors: [{}] }, { name: "my-l2-advertise" }));
      expect(await printed("l2advertisements", "-o", "wide")).toEqual({
        header: "NAME | IPADDRESSPOOLS | IPADDRESSPOOL SELECTORS | INTERFACES | NODE SELECTORS",
        row: 'my-l2-advertise | [{"matchLabels":{"a":"b"}}] | ["eth0"] | [{}]',
      });
    });

    it("print the columns of the BGP kinds", async () => {
      await mustApply(manifest("BGPAdvertisement", { ipAddressPools: ["p"], ipAddressPoolSelectors: [{}], peers: ["r"], nodeSelectors: [{}] }));
      await mustApply(manifest("BGPPeer", { myASN: 1, peerASN: 2, peerAddress: "10.0.0.1", bfdProfile: "b", ebgpMultiHop: true }));
      await mustApply(manifest("BFDProfile", { passiveMode: true, transmitInterval: 11, receiveInterval: 12, detectMultiplier: 13 }));
      await mustApply(manifest("Community", { communities: [] }));
      expect(await printed("bgpadvertisements", "-o", "wide")).toEqual({
        header: "NAME | IPADDRESSPOOLS | IPADDRESSPOOL SELECTORS | PEERS | NODE SELECTORS", row: 'x | ["p"] | [{}] | ["r"] | [{}]',
      });
      const peerTable = { header: "NAME | ADDRESS | ASN | BFD PROFILE | MULTI HOPS", row: "x | 10.0.0.1 | 2 | b | true" };
      expect(await printed("bgppeers")).toEqual(peerTable);
      expect(await printed("bgppeers.v1beta1.metallb.io")).toEqual(peerTable);
      expect(await printed("bfdprofiles")).toEqual({ header: "NAME | PASSIVE MODE | TRANSMIT INTERVAL | RECEIVE INTERVAL | MULTIPLIER", row: "x | true | 11 | 12 | 13" });
      expect((await printed("communities")).header).toBe("NAME | AGE");
    });

    it("print the columns of the kinds that Herald writes", async () => {
      const service = { node: "node1", serviceName: "svc1", serviceNamespace: "default" };
      for (const kind of ["ServiceL2Status", "ServiceBGPStatus", "ConfigurationState"]) await mustApply(manifest(kind, undefined));
      await patchStatus("servicel2statuses", service);
      await patchStatus("servicebgpstatuses", service);
      await patchStatus("configurationstates", { result: "Invalid", errorSummary: "bad" });
      expect(await printed("servicel2statuses")).toEqual({ header: "NAME | ALLOCATED NODE | SERVICE NAME | SERVICE NAMESPACE", row: "x | node1 | svc1 | default" });
      expect(await printed("servicebgpstatuses")).toEqual({ header: "NAME | NODE | SERVICE NAME | SERVICE NAMESPACE", row: "x | node1 | svc1 | default" });
      const state = await printed("configurationstates");
      expect(state.header).toBe("NAME | RESULT | ERRORSUMMARY | AGE");
      expect(state.row).toMatch(/^x \| Invalid \| bad \| \d+s$/);
    });

    it("keep status apart from spec", async () => {
      const counters = { assignedIPv4: 1, assignedIPv6: 0, availableIPv4: 2, availableIPv6: 3 };
      const pool = manifest("IPAddressPool", { addresses: ["10.0.0.0/24"] });
      await mustApply({ ...pool, status: counters } as Manifest);
      expect((await get("ipaddresspools")).status).toBeUndefined();
      await patchStatus("ipaddresspools", counters);
      await server.kubectl(["patch", "ipaddresspools", "x", "--subresource=status", "--type=merge", "-p", JSON.stringify({ spec: { autoAssign: false } })]);
      expect(await get("ipaddresspools")).toMatchObject({ spec: { autoAssign: true }, status: counters });
    });

    it("keep the pool's counters exact, required, and beside conditions and quarantined addresses", async () => {
      await mustApply(manifest("IPAddressPool", { addresses: ["fd00::/16"] }));
      const time = "2026-01-01T00:00:00Z";
      const extra = {
        conditions: [{ type: "Ready", status: "False", reason: "Overlap", message: "", lastTransitionTime: time, observedGeneration: 1 }],
        quarantined: [{ address: "10.0.0.1", reason: "Conflict", mac: "02:00:00:00:00:01", since: time }],
      };
      const missing = await patchStatus("ipaddresspools", extra);
      for (const counter of ["assignedIPv4", "assignedIPv6", "availableIPv4", "availableIPv6"]) expect(missing.stderr).toContain(`status.${counter}: Required value`);
      // The largest int64 is no JavaScript number, so it is written as text.
      const counters = '"assignedIPv4":0,"assignedIPv6":0,"availableIPv4":0,"availableIPv6":9223372036854775807';
      await run("patch", "ipaddresspools", "x", "--subresource=status", "--type=merge", "-p", `{"status":{${counters},${JSON.stringify(extra).slice(1, -1)}}}`);
      const { stdout } = await run("get", "ipaddresspools", "x", "-o", "jsonpath={.status.availableIPv6} {.status.conditions[0].reason} {.status.quarantined[0].mac}");
      expect(stdout).toBe("9223372036854775807 Overlap 02:00:00:00:00:01");
      const twice = await patchStatus("ipaddresspools", { quarantined: [...extra.quarantined, ...extra.quarantined] });
      expect(twice.stderr).toContain("Duplicate value");
    });

    it("forbid changes of what identifies a status", async () => {
      const service = { node: "node1", serviceName: "svc1", serviceNamespace: "default" };
      for (const kind of ["ServiceL2Status", "ServiceBGPStatus"]) {
        await mustApply(manifest(kind, undefined));
        const plural = `${kind.toLowerCase()}es`;
        expect(await patchStatus(plural, service)).toMatchObject({ code: 0 });
        for (const field of Object.keys(service)) expect((await patchStatus(plural, { [field]: "other" })).stderr).toContain(`${field} cannot be changed`);
      }
      const added = { interfaces: [{ name: "eth0" }], since: "2026-01-01T00:00:00Z", reason: "Elected", mac: "02:00:00:00:00:01" };
      expect(await patchStatus("servicel2statuses", added)).toMatchObject({ code: 0 });
      expect((await get("servicel2statuses")).status).toEqual({ ...service, ...added });
    });

    it("forbid turning graceful restart on or off", async () => {
      const spec = { myASN: 1, peerASN: 2, peerAddress: "10.0.0.1" };
      await mustApply(manifest("BGPPeer", { ...spec, enableGracefulRestart: true }));
      expect((await apply(manifest("BGPPeer", { ...spec, enableGracefulRestart: false }))).stderr).toContain("enableGracefulRestart cannot be changed");
    });

    it("judge the state of a configuration", async () => {
      await mustApply(manifest("ConfigurationState", undefined));
      expect((await patchStatus("configurationstates", { result: "Fine" })).stderr).toContain('Unsupported value: "Fine"');
      expect((await patchStatus("configurationstates", { conditions: [{ type: "a", status: "True" }] })).stderr).toContain("reason: Required value");
    });

    it("serve a peer in both versions, and warn of the former one", async () => {
      const former = manifest("BGPPeer", { myASN: 1, peerASN: 2, peerAddress: "10.0.0.1", nodeSelectors: [{ matchLabels: { a: "b" } }] }, { version: "v1beta1" });
      const result = await apply(former);
      expect(result).toMatchObject({ code: 0 });
      expect(result.stderr).toContain("Warning: BGPPeer of metallb.io/v1beta1 is deprecated: use metallb.io/v1beta2");
      expect((await get("bgppeers.v1beta2.metallb.io")).spec).toMatchObject({ peerAddress: "10.0.0.1", peerPort: 179, nodeSelectors: [{ matchLabels: { a: "b" } }] });
      await run("patch", "bgppeers.v1beta2.metallb.io", "x", "--type=merge", "-p", '{"spec":{"vrf":"red","connectTime":"5s"}}');
      expect((await get("bgppeers.v1beta2.metallb.io")).spec).not.toHaveProperty("holdTime");
      expect((await get("bgppeers.v1beta2.metallb.io")).spec).not.toHaveProperty("keepaliveTime");
      await run("patch", "bgppeers.v1beta1.metallb.io", "x", "--type=merge", "-p", '{"spec":{"holdTime":"9s"}}');
      expect((await get("bgppeers.v1beta2.metallb.io")).spec).toMatchObject({ holdTime: "9s", vrf: "red", connectTime: "5s" });
    });

    it("lose nothing when a peer that only v1beta2 can describe is written back through v1beta1", async () => {
      const spec = {
        myASN: 1, dynamicASN: "external", localASN: 3, interface: "eth0", connectTime: "5s", passwordSecret: { name: "s" }, enableGracefulRestart: true, vrf: "red", disableMP: true,
        dualStackAddressFamily: true, nodeSelectors: [{ matchExpressions: [{ key: "a", operator: "Exists" }] }], peerPort: 179,
      };
      await mustApply(manifest("BGPPeer", spec));
      const { stdout } = await run("get", "bgppeers.v1beta1.metallb.io", "x", "-o", "json");
      const former = JSON.parse(stdout) as { metadata: { labels?: object }; spec: object };
      former.metadata.labels = { touched: "yes" };
      expect(await server.kubectl(["replace", "-f", "-"], { input: JSON.stringify(former) })).toMatchObject({ code: 0 });
      expect((await get("bgppeers.v1beta2.metallb.io")).spec).toEqual(spec);
    });
  });
});
