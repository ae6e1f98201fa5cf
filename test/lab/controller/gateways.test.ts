import assert from "node:assert/strict";
import { afterEach, test } from "vitest";
import { DEFAULT_GATEWAYS } from "../../../config/default-gateways.ts";
import { AddressHistory } from "../address-history.ts";
import { clear, describeOnLab } from "../describe-on-lab.ts";
import { eventually } from "../eventually.ts";
import { CLIENT, type Lab } from "../lab.ts";
import { expectStays } from "../leaders.ts";
import { type ConditionView, WITHIN, answeringLeader, expectAddress } from "../observe.ts";
import { advertisement, pool } from "../resources.ts";
import { app } from "../walkthrough/manifests.ts";

const GATEWAY = "172.20.250.19";
const GATEWAY6 = "fd00:20::219";
/** A gateway counts for half a minute after it was seen last, and changes are told twice a minute at most. */
const A_WHILE = { timeoutMs: 120_000 } as const;

describeOnLab("a node's default gateway in a pool", { name: "gateways", nodes: 3, herald: { controllers: 1 } }, (lab) => {
  afterEach(() => clear(lab()));

  test("the pool gets a warning that names it, and loses it with the overlap; nothing moves", { timeout: 4 * A_WHILE.timeoutMs }, async () => {
    await lab().apply(pool("main", ["172.20.250.10-172.20.250.18", "fd00:20::210-fd00:20::218"]) + advertisement("all") + `---\n${app({ name: "web" })}`);
    const address = await expectAddress(lab(), "web", "172.20.250.10");
    const leader = await answeringLeader(lab(), "web", address);
    const history = new AddressHistory(lab());
    await eventually(() => assert.equal(history.latest("web"), address), { ...WITHIN, what: "the watch" });
    // As the lab is set up, everybody's gateway is the client.
    await eventually(async () => assert.equal(await toldBy(lab(), "node1"), "172.20.0.100,fd00:20::100"), { ...WITHIN, what: "node1 tells its gateways" });
    assert.equal(await warningOf(lab()), undefined);

    for (const argv of [["address", "add", `${GATEWAY}/16`, "dev", "eth0"], ["address", "add", `${GATEWAY6}/64`, "dev", "eth0", "nodad"]]) await ip(lab(), CLIENT, argv);
    for (const node of ["node1", "node3"]) await ip(lab(), node, ["route", "replace", "default", "via", GATEWAY]);
    await ip(lab(), "node2", ["-6", "route", "replace", "default", "via", GATEWAY6]);
    // What the gateways were still counts for a while.
    await eventually(async () => assert.match(await toldBy(lab(), "node1"), /172\.20\.250\.19/), { ...A_WHILE, what: "node1 tells its new gateway" });
    assert.equal(await warningOf(lab()), undefined);

    await lab().apply(pool("main", ["172.20.250.10-172.20.250.19", "fd00:20::210-fd00:20::21f"]));
    const expected = {
      status: "True",
      reason: "GatewayInPool",
      message: `${GATEWAY} (in 172.20.250.10-172.20.250.19) is the default gateway of nodes node1 and node3; ${GATEWAY6} (in fd00:20::210/124) is the default gateway of node node2; a Service that gets such an address takes it away from the gateway`,
    };
    await eventually(async () => assert.deepEqual(await warningOf(lab()), expected), { ...A_WHILE, what: "the warning" });

    await lab().apply(pool("main", ["172.20.250.10-172.20.250.18", "fd00:20::210-fd00:20::218"]));
    await eventually(async () => assert.equal((await warningOf(lab()))?.status, "False"), { ...WITHIN, what: "no warning without an overlap" });
    await lab().apply(pool("main", ["172.20.250.10-172.20.250.19"]));
    await eventually(async () => assert.match((await warningOf(lab()))?.message ?? "", /^172\.20\.250\.19 .* nodes node1 and node3; a Service/), { ...WITHIN, what: "the warning again" });

    for (const node of ["node1", "node3"]) await ip(lab(), node, ["route", "replace", "default", "via", "172.20.0.100"]);
    await eventually(async () => assert.equal(await toldBy(lab(), "node1"), "172.20.0.100,fd00:20::100"), { ...A_WHILE, what: "node1 tells its former gateway" });
    await eventually(async () => assert.equal((await warningOf(lab()))?.status, "False"), { ...A_WHILE, what: "no warning with other gateways" });
    await expectStays(lab(), { name: "web", address, node: leader });
    history.stop();
    assert.deepEqual(history.moves(), []);
  });

  test("the speaker is right about what it tells: an edit is put right, and nothing is written for nothing", async () => {
    await eventually(async () => assert.match(await toldBy(lab(), "node1"), /172\.20\.0\.100/), { ...WITHIN, what: "node1 tells its gateways" });
    const told = await toldBy(lab(), "node1");
    await lab().kubectl(["annotate", "configurationstate", "speaker-node1", "-n", "metallb-system", "--overwrite", `${DEFAULT_GATEWAYS}=172.20.250.10,garbage`]);
    await eventually(async () => assert.equal(await toldBy(lab(), "node1"), told), { ...WITHIN, what: "the annotation is as it was" });
    await lab().kubectl(["annotate", "configurationstate", "speaker-node1", "-n", "metallb-system", `${DEFAULT_GATEWAYS}-`]);
    await eventually(async () => assert.equal(await toldBy(lab(), "node1"), told), { ...WITHIN, what: "the annotation is back" });
    const versions = await Promise.all(lab().nodes.map((node) => versionOf(lab(), node)));
    // Every speaker judges the configuration anew for each of them, and comes to what its object says already.
    for (const last of [11, 12, 13]) await lab().apply(pool("main", [`172.20.250.10-172.20.250.${last}`]));
    await eventually(async () => assert.equal((await poolOf(lab())).status?.["availableIPv4"], 4), { ...WITHIN, what: "the last of the pools is in effect" });
    assert.deepEqual(await Promise.all(lab().nodes.map((node) => versionOf(lab(), node))), versions);
  });
});

interface PoolView {
  readonly status?: { readonly conditions?: readonly ConditionView[]; readonly availableIPv4?: number };
}

async function poolOf(lab: Lab): Promise<PoolView> {
  return await lab.get("ipaddresspool", "metallb-system", "main") as PoolView;
}

/** What the pool's condition says. */
async function warningOf(lab: Lab): Promise<Pick<ConditionView, "status" | "reason" | "message"> | undefined> {
  const found = (await poolOf(lab)).status?.conditions?.find(({ type }) => type === "OverlapsNodes");
  return found === undefined ? undefined : { status: found.status, reason: found.reason, message: found.message };
}

interface StateView {
  readonly metadata: { readonly resourceVersion: string; readonly annotations?: Readonly<Record<string, string>> };
}

async function stateOf(lab: Lab, node: string): Promise<StateView> {
  return await lab.get("configurationstate", "metallb-system", `speaker-${node}`) as StateView;
}

/** Default gateways of a node, as its speaker tells them; "nothing" when it tells none. */
async function toldBy(lab: Lab, node: string): Promise<string> {
  return (await stateOf(lab, node)).metadata.annotations?.[DEFAULT_GATEWAYS] ?? "nothing";
}

async function versionOf(lab: Lab, node: string): Promise<string> {
  return (await stateOf(lab, node)).metadata.resourceVersion;
}

async function ip(lab: Lab, host: string, argv: readonly string[]): Promise<void> {
  const { code, stderr } = await lab.exec(host, ["ip", ...argv]);
  assert.equal(code, 0, `ip ${argv.join(" ")} on ${host}: ${stderr}`);
}
