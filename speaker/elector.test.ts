import { beforeEach, describe, expect, test } from "vitest";

import type { AgreementInput, AgreementOutput } from "./agreement/agreement-protocol.ts";
import { MetallbElector, SETTLE_WITHIN_MS, StandaloneElector } from "./elector.ts";
import type { AddressRow, InterfaceFact } from "./packet-protocol.ts";

const eth0: InterfaceFact = { name: "eth0", index: 2, mac: "02:00:00:00:00:0a", usable: true };
const endpoint = { address: "10.9.0.2", port: 7946 };
const [A, B] = ["192.0.2.80", "192.0.2.81"];

function row(address: string, nodes: readonly string[]): AgreementInput {
  const table: AddressRow = { address, group: address, interfaces: "all", candidates: nodes.map((node) => ({ node, score: 0 })) };
  return { kind: "row", row: table };
}

/** What was taken and given, in words. */
function words(outputs: readonly AgreementOutput[]): string[] {
  return outputs.map((output) => {
    switch (output.kind) {
      case "owned":
      case "lost":
        return `${output.kind} ${output.address} ${output.reason}`;
      case "member":
        return `member ${output.node} ${output.state}`;
      default:
        return output.kind;
    }
  });
}

describe("without membership", () => {
  let elector: StandaloneElector;
  beforeEach(() => {
    elector = new StandaloneElector("node1");
    elector.handle({ kind: "interfaces", interfaces: [eth0] }, 0);
  });

  test("announces what it is first for, without asking anybody and without a deadline", () => {
    expect(words(elector.handle(row(A, ["node1"]), 0))).toEqual([`owned ${A} FirstInRank`]);
    expect(words(elector.handle(row(B, ["node2"]), 0))).toEqual([]);
    expect(words(elector.handle({ kind: "removeRow", address: A }, 0))).toEqual([`lost ${A} Removed`]);
    expect(elector.nextTimeout()).toBeUndefined();
  });

  test("has no use for what concerns others", () => {
    elector.handle(row(A, ["node1"]), 0);
    const inputs: AgreementInput[] = [{ kind: "ready" }, { kind: "fresh", fresh: false }, { kind: "peers", peers: [] }, { kind: "woke", lagMs: 5_000 }, { kind: "frame", interfaceIndex: 2 }, { kind: "timeout" }];
    for (const input of inputs) expect(elector.handle(input, 0)).toEqual([]);
  });

  test("gives everything up at once when told to stop", () => {
    for (const address of [A, B]) elector.handle(row(address, ["node1"]), 0);
    expect(words(elector.handle({ kind: "stop" }, 0))).toEqual([`lost ${A} Stopping`, `lost ${B} Stopping`, "stopped"]);
  });
});

describe("MetalLB's election", () => {
  /** Lowest name first: who leads is plain to see. */
  const order = (_group: string, candidates: readonly { readonly node: string }[]): string[] => candidates.map(({ node }) => node).sort();
  let members: string[];
  let said: AgreementInput[];
  let answers: AgreementOutput[];
  let deadline: number | undefined;
  let elector: MetallbElector;

  const give = (input: AgreementInput, now = 0): string[] => words(elector.handle(input, now));
  /** Membership tells of a change in its next answer. */
  const change = (node: string, state: "alive" | "suspect" | "dead" | "left", now = 0): string[] => {
    members = members.filter((member) => member !== node);
    if (state === "alive" || state === "suspect") members.push(node);
    answers = [{ kind: "member", node, state, before: undefined, isHerald: false, endpoint }];
    return give({ kind: "datagram", from: endpoint, bytes: new Uint8Array(0) }, now);
  };
  const peers = (...nodes: readonly string[]): AgreementInput => ({ kind: "peers", peers: nodes.map((node) => ({ node, address: "10.9.0.2" })) });

  beforeEach(() => {
    [members, said, answers, deadline] = [[], [], [], undefined];
    elector = new MetallbElector(
      "node2",
      {
        handle(input) {
          said.push(input);
          return answers.splice(0);
        },
        nextTimeout: () => deadline,
        usableMembers: () => members,
      },
      order,
    );
    give({ kind: "interfaces", interfaces: [eth0] });
  });

  test("the agreement is given everything but rows: it claims nothing", () => {
    said.length = 0;
    give(row(A, ["node1"]));
    give({ kind: "removeRow", address: A });
    for (const input of [peers(), { kind: "ready" }, { kind: "fresh", fresh: true }, { kind: "woke", lagMs: 200 }] as const) give(input);
    expect(said.map(({ kind }) => kind)).toEqual(["peers", "ready", "fresh", "woke"]);
  });

  test("takes what it is first for among the members that are alive or suspect", () => {
    give(peers());
    expect(give(row(A, ["node1", "node2"]))).toEqual([`owned ${A} FirstInRank`]);
    expect(change("node1", "alive")).toEqual([`lost ${A} NotFirstInRank`, "member node1 alive"]);
    expect(change("node1", "suspect")).toEqual(["member node1 suspect"]);
    expect(change("node1", "dead")).toEqual([`owned ${A} FirstInRank`, "member node1 dead"]);
    expect(change("node3", "alive")).toEqual(["member node3 alive"]);
  });

  test("a newcomer takes nothing before the members that should be there are", () => {
    give(row(A, ["node1", "node2"]));
    give({ kind: "ready" });
    expect(give(peers("node1", "node3"))).toEqual([]);
    expect(give(row(B, ["node2"]))).toEqual([]);
    expect(change("node1", "alive")).toEqual(["member node1 alive"]);
    expect(change("node3", "alive")).toEqual([`owned ${B} FirstInRank`, "member node3 alive"]);
  });

  test.each([["that are not there", ["node1"]], ["that are not known", undefined]])("it does not wait for members %s for ever", (_what, nodes) => {
    give(row(A, ["node1", "node2"]), 0);
    if (nodes !== undefined) give(peers(...nodes), 0);
    give({ kind: "ready" }, 100);
    deadline = 10_000;
    expect(elector.nextTimeout()).toBe(100 + SETTLE_WITHIN_MS);
    expect(give({ kind: "timeout" }, 100 + SETTLE_WITHIN_MS - 1)).toEqual([]);
    expect(give({ kind: "timeout" }, 100 + SETTLE_WITHIN_MS)).toEqual([`owned ${A} FirstInRank`]);
    expect(elector.nextTimeout()).toBe(10_000);
  });

  test("a peer that comes later does not make it wait again", () => {
    give(peers());
    give(row(A, ["node1", "node2"]));
    expect(give(peers("node1"))).toEqual([]);
    expect(give(row(B, ["node2"]))).toEqual([`owned ${B} FirstInRank`]);
  });

  test("when told to stop it answers until its goodbye is said, and gives up before it ends", () => {
    give(peers());
    give(row(A, ["node2"]));
    expect(give({ kind: "stop" })).toEqual([]);
    answers = [{ kind: "datagram", to: endpoint, bytes: new Uint8Array(0) }, { kind: "stopped" }];
    expect(give({ kind: "timeout" })).toEqual([`lost ${A} Stopping`, "datagram", "stopped"]);
  });

  test("interfaces that go take its addresses along", () => {
    give(peers());
    give(row(A, ["node2"]));
    expect(give({ kind: "interfaces", interfaces: [] })).toEqual([`lost ${A} NoUsableInterface`, "blocked"]);
  });
});
