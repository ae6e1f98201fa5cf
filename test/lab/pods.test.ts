import { describe, expect, it } from "vitest";
import { type Node, OVERRIDES_ANNOTATION, type Pod, chooseNode, overrideOf, portsOf, programOf, statusSays } from "./pods.ts";

function node(name: string, options: { ready?: boolean; unschedulable?: boolean; taint?: boolean } = {}): Node {
  return {
    metadata: { name, labels: { zone: name === "node3" ? "b" : "a" } },
    spec: { unschedulable: options.unschedulable ?? false, taints: options.taint === true ? [{ key: "t", effect: "NoSchedule" }] : [] },
    status: { conditions: [{ type: "Ready", status: options.ready === false ? "Unknown" : "True" }] },
  };
}

function pod(name: string, owner: string, spec: Partial<Pod["spec"]> = {}): Pod {
  return { metadata: { name, ownerReferences: [{ uid: owner, kind: "ReplicaSet" }] }, spec: { containers: [{ name: "c" }], ...spec } };
}

const nodes = [node("node1"), node("node2"), node("node3")];

describe("where a pod goes", () => {
  it("spreads the pods of one owner, whatever else runs", () => {
    const placed = [{ node: "node1", pod: pod("a", "x") }, { node: "node2", pod: pod("b", "y") }, { node: "node2", pod: pod("c", "z") }, { node: "node3", pod: pod("d", "y") }];
    expect(chooseNode(pod("new", "y"), nodes, placed)).toBe("node1");
    expect(chooseNode(pod("new", "x"), nodes, placed)).toBe("node3");
  });

  it("takes the first by name of equal nodes", () => {
    expect(chooseNode(pod("new", "x"), nodes.toReversed(), [])).toBe("node1");
  });

  it("follows a DaemonSet and a nodeSelector", () => {
    const terms = [{ matchFields: [{ key: "metadata.name", values: ["node2"] }] }];
    const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms } } };
    expect(chooseNode(pod("d", "x", { affinity }), [node("node2", { ready: false, taint: true })], [])).toBe("node2");
    expect(chooseNode(pod("d", "x", { nodeSelector: { zone: "b" } }), nodes, [])).toBe("node3");
    expect(chooseNode(pod("d", "x", { nodeSelector: { "kubernetes.io/hostname": "node9" } }), nodes, [])).toBeUndefined();
  });

  it("avoids nodes that are not Ready, cordoned or tainted", () => {
    expect(chooseNode(pod("new", "x"), [node("node1", { ready: false }), node("node2", { unschedulable: true }), node("node3", { taint: true })], [])).toBeUndefined();
  });
});

describe("what a pod is", () => {
  it("has the ports it names, or the usual ones", () => {
    expect(portsOf(pod("a", "x"))).toEqual([{ port: 80, protocol: "TCP" }, { port: 8080, protocol: "TCP" }]);
    const ports = [{ containerPort: 53, protocol: "UDP" }, { containerPort: 7, protocol: "SCTP" }];
    expect(portsOf(pod("a", "x", { containers: [{ name: "c", ports }] }))).toEqual([{ port: 53, protocol: "UDP" }]);
  });

  it("is a program when it is Herald's or says so", () => {
    const speaker = { ...pod("s", "x"), metadata: { name: "s", namespace: "metallb-system", labels: { "app.kubernetes.io/component": "speaker" } } };
    expect(programOf(speaker, "/dist")).toBe("/dist/speaker.mjs");
    expect(programOf({ ...speaker, metadata: { ...speaker.metadata, namespace: "default" } }, "/dist")).toBeUndefined();
  });

  it("is reported again only when something differs", () => {
    const view = { ips: ["10.244.1.2", "fd00:244:1::2"], ready: true, restarts: 0 };
    const status = { phase: "Running", podIPs: view.ips.map((ip) => ({ ip })), conditions: [{ type: "Ready", status: "True" }], containerStatuses: [{ restartCount: 0 }] };
    const reported = { ...pod("a", "x"), status };
    expect(statusSays(reported, view)).toBe(true);
    expect(statusSays(reported, { ...view, ready: false })).toBe(false);
    expect(statusSays(reported, { ...view, restarts: 1 })).toBe(false);
    expect(statusSays(pod("a", "x"), view)).toBe(false);
  });
});

describe("what differs on a node", () => {
  it("is what the annotation says for that node, and nothing elsewhere", () => {
    const annotated: Pod = { metadata: { name: "p", annotations: { [OVERRIDES_ANNOTATION]: JSON.stringify({ node2: { args: ["--x"] } }) } }, spec: { containers: [{ name: "c" }] } };
    expect(overrideOf(annotated, "node2")).toEqual({ args: ["--x"] });
    expect(overrideOf(annotated, "node1")).toEqual({});
    expect(overrideOf(pod("plain", "x"), "node2")).toEqual({});
  });
});
