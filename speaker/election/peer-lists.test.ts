import { describe, expect, test } from "vitest";

import { MAX_ENTRIES_PER_OWNER, OwnList } from "./claim-list.ts";
import type { ClaimEntry, ClaimsOutput, ClaimsUpdate, ElectionMember } from "./claims-protocol.ts";
import { Deadlines } from "./deadlines.ts";
import { LIST_KEPT_MS, MAX_OWNERS, PeerLists } from "./peer-lists.ts";
import { VOID_AFTER_MS } from "./peer.ts";
import { MAX_PENDING_OWNERS, PENDING_KEPT_MS } from "./pending-lists.ts";
import { GAP_PATIENCE_MS, PULL_INTERVAL_MS } from "./pulls.ts";

const READY = { ready: true, fresh: true, settled: true, template: "" };
const claim = (address: string, term = 10): ClaimEntry => ({ address, state: "claim", term, witnessed: true, successor: "" });
const member = (node: string, state: ElectionMember["state"] = "alive"): ElectionMember => ({ node, state, damped: false });

/** The lists as node "me" keeps them, and all that they said. */
class Bench {
  readonly outputs: ClaimsOutput[] = [];
  readonly touched = new Set<string>();
  readonly deadlines = new Deadlines();
  readonly lists: PeerLists;

  constructor(node = "me", members: readonly ElectionMember[] = [member("a"), member("b")]) {
    const { deadlines } = this;
    this.lists = new PeerLists({
      node,
      wallMs: () => 1000,
      deadlines,
      events: { emit: (output) => this.outputs.push(output), touch: (address) => this.touched.add(address), sawTerm: () => {}, changed: () => {} },
    });
    this.lists.setMembers(members, 0);
  }

  /** Runs the deadlines up to that time. */
  run(until: number): ClaimsOutput[] {
    this.outputs.length = 0;
    for (let at = this.deadlines.next(); at !== undefined && at <= until; at = this.deadlines.next()) {
      const [what, whom = ""] = (this.deadlines.takeDue(at) ?? "").split(" ");
      if (what === "pull") this.lists.pullDue(whom, at);
      if (what === "forget") this.lists.forgetDue(whom, at);
      if (what === "void" || what === "grace") this.lists.voidDue(whom);
    }
    return this.outputs.slice();
  }

  dropped(): string[] {
    return this.outputs.flatMap((output) => (output.kind === "dropped" ? [output.reason] : []));
  }
}

/** A list of `owner` and the updates that it sends: whole, then a step for each address. */
function updatesOf(owner: string, addresses: readonly string[], boot = 1): { list: OwnList; updates: ClaimsUpdate[] } {
  const list = new OwnList({ owner, boot, facts: READY });
  const updates = list.takeDeltas();
  for (const address of addresses) {
    list.set(claim(address));
    updates.push(...list.takeDeltas());
  }
  return { list, updates };
}

describe("PeerLists", () => {
  test("steps in order give the owner's list", () => {
    const bench = new Bench();
    const { list, updates } = updatesOf("a", ["192.0.2.1", "192.0.2.2"]);
    expect(updates.map((update) => bench.lists.update(update, 1))).toEqual([true, true, true]);
    expect(bench.lists.digest(list.digest(), "a", 2)).toBe(true);
    expect(bench.lists.best("192.0.2.2", 2)).toMatchObject({ node: "a", boot: 1, entry: claim("192.0.2.2") });
    expect(bench.run(1000).filter((output) => output.kind === "pull" && output.owner === "a")).toEqual([]);
  });

  test("steps out of order are put in order, and what is only late is not asked for", () => {
    const bench = new Bench();
    const { updates } = updatesOf("a", ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    for (const at of [0, 3, 2, 1, 1, 2]) bench.lists.update(updates[at] as ClaimsUpdate, 1);
    for (const last of [1, 2, 3]) expect(bench.lists.best(`192.0.2.${last}`, 2)?.node).toBe("a");
    expect(bench.dropped()).toEqual(["versionGap", "versionGap"]);
    expect(bench.run(1 + GAP_PATIENCE_MS).filter((output) => output.kind === "pull" && output.owner === "a")).toEqual([]);
  });

  test("what is missing is asked for once, again when nobody answers, and never when it came", () => {
    const bench = new Bench();
    const { list, updates } = updatesOf("a", ["192.0.2.1", "192.0.2.2"]);
    bench.run(200);
    bench.lists.update(updates[0] as ClaimsUpdate, 200);
    bench.lists.update(updates[2] as ClaimsUpdate, 200);
    bench.lists.digest(list.digest(), "b", 201);
    expect(bench.run(200 + PULL_INTERVAL_MS).filter((output) => output.kind === "pull" && output.owner === "a")).toEqual([{ kind: "pull", to: "a", owner: "a" }]);
    expect(bench.run(200 + 2.5 * PULL_INTERVAL_MS).filter((output) => output.kind === "pull" && output.owner === "a")).toHaveLength(1);
    bench.lists.update(list.whole(), 460);
    expect(bench.run(10_000).filter((output) => output.kind === "pull" && output.owner === "a")).toEqual([]);
    expect(bench.lists.get("a")?.isUpToDate).toBe(true);
  });

  test("a member that is ready and settled before it is seen alive again is well from then on", () => {
    const bench = new Bench();
    const first = updatesOf("a", ["192.0.2.1"]);
    for (const update of first.updates) bench.lists.update(update, 1);
    expect(bench.lists.get("a")?.wellSince).toBe(1);
    bench.lists.setMembers([member("a", "dead"), member("b")], 100);
    expect(bench.lists.get("a")?.wellSince).toBe(undefined);
    const second = updatesOf("a", [], 2);
    for (const update of second.updates) bench.lists.update(update, 200);
    bench.lists.setMembers([member("a"), member("b")], 201);
    bench.lists.digest(second.list.digest(), "a", 202);
    expect(bench.lists.get("a")).toMatchObject({ isReady: true, wellSince: 202 });
  });

  test("a digest that reads differently makes its sender be asked", () => {
    const bench = new Bench();
    const { list, updates } = updatesOf("a", ["192.0.2.1"]);
    for (const update of updates) bench.lists.update(update, 1);
    bench.run(500);
    expect(bench.lists.digest({ ...list.digest(), hash: 1 }, "b", 500)).toBe(false);
    expect(bench.run(500 + GAP_PATIENCE_MS)).toContainEqual({ kind: "pull", to: "b", owner: "a" });
  });

  test("a step that leads to another hash than its owner's is found out", () => {
    const bench = new Bench();
    const { updates } = updatesOf("a", ["192.0.2.1"]);
    bench.lists.update(updates[0] as ClaimsUpdate, 500);
    expect(bench.lists.update({ ...(updates[1] as ClaimsUpdate), hash: 1 }, 500)).toBe(false);
    expect(bench.run(501)).toContainEqual({ kind: "pull", to: "a", owner: "a" });
  });

  test("older boots and older whole lists are dropped", () => {
    const bench = new Bench();
    const { updates, list } = updatesOf("a", ["192.0.2.1"], 2);
    const early = { ...(updates[0] as ClaimsUpdate) };
    bench.lists.update(list.whole(), 1);
    bench.lists.update(early, 1);
    bench.lists.update({ ...list.whole(), boot: 1, version: 99 }, 1);
    expect(bench.dropped()).toEqual(["oldVersion", "oldBoot"]);
    expect(bench.lists.best("192.0.2.1", 1)?.boot).toBe(2);
  });

  test("lists of strangers wait for a minute to become members', so many and no more", () => {
    const bench = new Bench();
    bench.lists.update(updatesOf("new", ["192.0.2.1"]).list.whole(), 0);
    expect(bench.dropped()).toEqual([]);
    for (let index = 0; index < MAX_PENDING_OWNERS; index++) bench.lists.update(updatesOf(`x${index}`, []).list.whole(), 0);
    expect(bench.dropped()).toEqual(["notAMember"]);
    bench.lists.update({ ...updatesOf("new", []).list.whole(), base: 1, version: 9 }, 0);
    expect(bench.dropped()).toEqual(["notAMember", "notAMember"]);
    bench.lists.setMembers([member("a"), member("new")], PENDING_KEPT_MS - 1);
    expect(bench.lists.best("192.0.2.1", PENDING_KEPT_MS - 1)?.node).toBe("new");
    bench.lists.setMembers([member("a"), member("new"), member("x1")], PENDING_KEPT_MS);
    expect(bench.lists.get("x1")?.list).toBeUndefined();
  });

  test("a dead member's claims are void at once, and count again with its first word when it comes back", () => {
    const bench = new Bench();
    const { list } = updatesOf("a", ["192.0.2.1"]);
    list.takeDeltas();
    bench.lists.update(list.whole(), 0);
    bench.touched.clear();
    bench.lists.setMembers([member("a", "dead")], 10);
    expect(bench.touched).toEqual(new Set(["192.0.2.1"]));
    expect(bench.lists.best("192.0.2.1", 10)).toBeUndefined();
    bench.lists.digest(list.digest(), "a", 11);
    bench.lists.setMembers([member("a")], 20);
    expect(bench.lists.best("192.0.2.1", 20)).toBeUndefined();
    bench.touched.clear();
    bench.lists.digest(list.digest(), "a", 21);
    expect(bench.lists.best("192.0.2.1", 21)?.node).toBe("a");
    expect(bench.touched).toEqual(new Set(["192.0.2.1"]));
  });

  test("it is forgotten after a minute", () => {
    const bench = new Bench();
    bench.lists.update(updatesOf("a", ["192.0.2.1"]).list.whole(), 0);
    bench.lists.setMembers([member("a", "dead")], 10);
    bench.run(9 + LIST_KEPT_MS);
    expect(bench.lists.get("a")?.list).toBeDefined();
    bench.run(10 + LIST_KEPT_MS);
    expect(bench.lists.get("a")?.list).toBeUndefined();
    expect(bench.lists.highestTerm("192.0.2.1")).toBe(0);
  });

  test("members that are named no more leave room for others, however many there were", () => {
    const bench = new Bench("me", []);
    for (let index = 0; index < 2 * MAX_OWNERS; index++) {
      const now = index * 10 * LIST_KEPT_MS;
      bench.lists.setMembers([member(`n${index}`)], now);
      bench.lists.update(updatesOf(`n${index}`, ["192.0.2.1"]).list.whole(), now);
      bench.lists.setMembers([member(`n${index}`, "dead")], now + 1);
      bench.run(now + 2 * LIST_KEPT_MS);
      bench.lists.setMembers([], now + 3 * LIST_KEPT_MS);
    }
    expect([...bench.lists.all()].length).toBeLessThan(2);
  });

  test("a restarted member's claims count for 300 ms, and it is given its list by those that follow its name", () => {
    for (const [me, gives] of [["b", true], ["c", true], ["d", false]] as const) {
      const bench = new Bench(me, ["a", "b", "c", "d"].filter((node) => node !== me).map((node) => member(node)));
      bench.lists.update(updatesOf("a", ["192.0.2.1"]).list.whole(), 0);
      bench.run(100);
      bench.lists.digest({ owner: "a", boot: 2, version: 1, hash: 0 }, "a", 100);
      bench.lists.update(updatesOf("a", [], 2).list.whole(), 150);
      const given = bench.outputs.filter((output) => output.kind === "send");
      expect(given).toHaveLength(gives ? 1 : 0);
      if (gives) expect(given[0]).toMatchObject({ to: "a", reliable: true, update: { owner: "a", boot: 1, base: undefined, entries: [claim("192.0.2.1")] } });
      expect(bench.lists.best("192.0.2.1", 99 + VOID_AFTER_MS)?.boot).toBe(1);
      expect(bench.lists.best("192.0.2.1", 100 + VOID_AFTER_MS)).toBeUndefined();
    }
  });

  test("a member that is not ready owns nothing after 300 ms", () => {
    const bench = new Bench();
    const { list } = updatesOf("a", ["192.0.2.1"]);
    list.setFacts({ ready: false });
    list.takeDeltas();
    bench.lists.update(list.whole(), 0);
    expect(bench.lists.best("192.0.2.1", VOID_AFTER_MS - 1)?.node).toBe("a");
    expect(bench.lists.best("192.0.2.1", VOID_AFTER_MS)).toBeUndefined();
    list.setFacts({ ready: true });
    bench.lists.update(list.takeDeltas()[0] as ClaimsUpdate, 400);
    expect(bench.lists.best("192.0.2.1", 400)?.node).toBe("a");
  });

  test("a list that is too long is cut, and not asked for again", () => {
    const bench = new Bench();
    const entries = Array.from({ length: MAX_ENTRIES_PER_OWNER + 2 }, (_, index) => claim(String(index)));
    bench.lists.update({ ...updatesOf("a", []).list.whole(), entries, version: 7 }, 0);
    expect(bench.dropped()).toEqual(["tooManyUnknown", "tooManyUnknown"]);
    expect(bench.lists.get("a")?.isUpToDate).toBe(true);
  });

  test("anybody's list is handed out to who asks", () => {
    const bench = new Bench();
    const { list } = updatesOf("a", ["192.0.2.1"]);
    bench.lists.update(list.whole(), 0);
    bench.lists.pulled("b", "a");
    expect(bench.outputs).toContainEqual({ kind: "send", to: "b", update: list.whole(), reliable: false });
    bench.outputs.length = 0;
    bench.lists.pulled("b", "nobody");
    expect(bench.outputs).toEqual([]);
  });
});
