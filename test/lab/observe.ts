/** What tests look at in a lab: Services as the API has them, events, statuses, and who answers on the wire. */
import assert from "node:assert/strict";
import type { Capture } from "./capture.ts";
import { CLIENT, type Lab } from "./lab.ts";
import { eventually } from "./eventually.ts";

/** A budget for what takes a moment, on a machine that is three times as slow and stands still now and then; a group that moves again and again is left alone for up to a minute (docs/leadership.md). */
export const WITHIN = { timeoutMs: 90_000 } as const;

/** A condition as the API spells it. */
export interface ConditionView {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

/** The parts of a Service that tests look at. */
export interface ServiceView {
  readonly metadata: { readonly name: string; readonly resourceVersion: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly status: { readonly loadBalancer: { readonly ingress?: readonly { readonly ip?: string }[] }; readonly conditions?: readonly ConditionView[] };
}

/** A Service of the default namespace. */
export async function serviceOf(lab: Lab, name: string): Promise<ServiceView> {
  return await lab.get("service", "default", name) as ServiceView;
}

/** The address in the Service's status; undefined while it is pending. */
export async function addressOf(lab: Lab, name: string): Promise<string | undefined> {
  return (await serviceOf(lab, name)).status.loadBalancer.ingress?.[0]?.ip;
}

/** Waits for the Service's address: this one, or any when none is given. */
export function expectAddress(lab: Lab, name: string, expected?: string): Promise<string> {
  return eventually(async () => {
    const address = await addressOf(lab, name);
    assert.ok(address !== undefined, `${name} has no address`);
    if (expected !== undefined) assert.equal(address, expected, `address of ${name}`);
    return address;
  }, { ...WITHIN, what: `${name} gets ${expected ?? "an address"}` });
}

/** Addresses of every Service of type LoadBalancer of the default namespace, by name; undefined while one is pending. */
export async function addressesOfAll(lab: Lab): Promise<Map<string, string | undefined>> {
  const jsonpath = 'jsonpath={range .items[?(@.spec.type=="LoadBalancer")]}{.metadata.name} {.status.loadBalancer.ingress[0].ip}{"\\n"}{end}';
  const text = await lab.kubectl(["get", "services", "-n", "default", "-o", jsonpath]);
  return new Map(text.split("\n").filter((line) => line !== "").map((line) => {
    const [name = "", address = ""] = line.split(" ");
    return [name, address === "" ? undefined : address];
  }));
}

/** Herald's condition on a Service; undefined while there is none. */
export async function assignmentOf(lab: Lab, name: string): Promise<ConditionView | undefined> {
  return (await serviceOf(lab, name)).status.conditions?.find(({ type }) => type === "metallb.io/AddressAssigned");
}

/** Waits until the condition has this status and reason and its message matches, and until an event of that reason and text is there. */
export async function expectRefusal(lab: Lab, name: string, expected: { readonly status: "True" | "False"; readonly reason: string; readonly event: string; readonly says: RegExp }): Promise<void> {
  await eventually(async () => {
    const condition = await assignmentOf(lab, name);
    assert.deepEqual([condition?.status, condition?.reason], [expected.status, expected.reason], JSON.stringify(condition));
    assert.match(condition?.message ?? "", expected.says);
  }, { ...WITHIN, what: `${name}'s condition says ${expected.reason}` });
  await eventually(async () => {
    const events = await eventsOf(lab, name);
    assert.ok(events.some((event) => event.startsWith(`${expected.event} metallb-controller `) && expected.says.test(event)), events.join("\n"));
  }, { ...WITHIN, what: `an event ${expected.event} on ${name}` });
}

/** "reason component message" of each event on a Service of the default namespace. */
export async function eventsOf(lab: Lab, name: string): Promise<string[]> {
  const jsonpath = "jsonpath={range .items[*]}{.reason} {.source.component} {.message}{'\\n'}{end}";
  const text = await lab.kubectl(["get", "events", "-n", "default", `--field-selector=involvedObject.name=${name}`, "-o", jsonpath]);
  return text.split("\n").filter((line) => line !== "");
}

/** The parts of a ServiceL2Status that tests look at. */
export interface L2StatusView {
  readonly metadata: { readonly name: string };
  readonly status?: {
    readonly node: string;
    readonly serviceName: string;
    readonly interfaces?: readonly { readonly name: string }[];
    readonly since?: string;
    readonly reason?: string;
    readonly mac?: string;
  };
}

/** Every ServiceL2Status, or those about one Service. */
export async function l2StatusesOf(lab: Lab, name?: string): Promise<L2StatusView[]> {
  const selector = name === undefined ? [] : ["-l", `metallb.io/service-name=${name}`];
  return (JSON.parse(await lab.kubectl(["get", "servicel2statuses", "-A", "-o", "json", ...selector])) as { items: L2StatusView[] }).items;
}

/** The node that ServiceL2Status names for a Service; undefined unless there is exactly one. */
export async function leaderOf(lab: Lab, name: string): Promise<string | undefined> {
  const statuses = await l2StatusesOf(lab, name);
  return statuses.length === 1 ? statuses[0]?.status?.node : undefined;
}

/** Waits until the capture has so many frames that are wanted, and returns them: a frame is sent again, and tcpdump comes to it, when they can. */
export async function untilCaptured(capture: Capture, isWanted: (line: string) => boolean, count: number, what: string): Promise<string[]> {
  return eventually(async () => {
    const lines = await capture.frames();
    const wanted = lines.filter(isWanted);
    assert.ok(wanted.length >= count, `${wanted.length} of ${count}, among ${lines.length} frames:\n${lines.slice(-20).join("\n")}`);
    return wanted;
  }, { ...WITHIN, what });
}

/** Waits until exactly one ServiceL2Status names a node for the Service. */
export async function settledLeader(lab: Lab, name: string): Promise<string> {
  return eventually(async () => {
    const leader = await leaderOf(lab, name);
    assert.ok(leader !== undefined, `${name} has no single ServiceL2Status: ${JSON.stringify(await l2StatusesOf(lab, name))}`);
    return leader;
  }, { ...WITHIN, what: `one ServiceL2Status for ${name}` });
}

/** Exactly one MAC answers for the address, seen from the client, and it is this node's. */
export async function expectAnswerFrom(lab: Lab, address: string, node: string): Promise<void> {
  const macs = [...new Set(await lab.arping(CLIENT, address, { count: 3 }))];
  const mac = await lab.nodeMac(node);
  assert.deepEqual(macs, [mac], `for ${address} answers ${macs.join(" and ") || "nobody"} instead of ${mac} of ${node}`);
}

/** Waits until exactly this node answers for the address. One question that is not answered says little: whoever answers or asks may just be standing still. */
export async function untilAnswerFrom(lab: Lab, address: string, node: string): Promise<void> {
  await eventually(() => expectAnswerFrom(lab, address, node), { ...WITHIN, what: `${node} answers for ${address}` });
}

/** Waits until one node leads the Service and is the only one that answers for its address, while both may still change. @returns the node */
export async function answeringLeader(lab: Lab, name: string, address: string, isWanted: (node: string) => boolean = () => true): Promise<string> {
  return eventually(async () => {
    const leader = await leaderOf(lab, name);
    assert.ok(leader !== undefined && isWanted(leader), `${leader ?? "nobody"} leads ${name}`);
    await expectAnswerFrom(lab, address, leader);
    return leader;
  }, { ...WITHIN, what: `one leader of ${name} that answers for ${address}` });
}

/** Waits until this node is the Service's leader and the only one that answers for the address. */
export async function expectLeader(lab: Lab, name: string, address: string, node: string): Promise<void> {
  await eventually(async () => assert.equal(await leaderOf(lab, name), node), { ...WITHIN, what: `${node} leads ${name}` });
  await untilAnswerFrom(lab, address, node);
}

/** Waits until nobody answers for the address, asked several times. */
export async function expectSilence(lab: Lab, address: string): Promise<void> {
  await eventually(async () => assert.deepEqual(await lab.arping(CLIENT, address, { count: 3 }), []), { ...WITHIN, what: `silence for ${address}` });
}

/** Sets or clears the node condition that MetalLB's users know: NetworkUnavailable. */
export async function setNetworkUnavailable(lab: Lab, node: string, status: "True" | "False"): Promise<void> {
  const condition = { type: "NetworkUnavailable", status, reason: "Test", message: "set by a test" };
  await lab.kubectl(["patch", "node", node, "--subresource=status", "--type=strategic", "-p", JSON.stringify({ status: { conditions: [condition] } })]);
}
