/**
 * Two speakers' packet threads, each a process in a network namespace, joined by a cable: real sockets from the first
 * datagram to the last. A process can be killed or stopped, and its kernel goes on answering.
 */

import { spawn } from "node:child_process";
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import type { HeardFact } from "../test/netns/thread-process.ts";
import { makeVethPair, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import type { VethPair } from "../test/netns/veth-pair.ts";
import type { AddressRow, FromPacketThread, ToPacketThread } from "./packet-protocol.ts";

const PROGRAM = fileURLToPath(new URL("../test/netns/thread-process.ts", import.meta.url));
const CANDIDATES = ["node1", "node2"].map((node) => ({ node, score: 0 }));
/** The cable has addresses of one family only, and so do the rows. */
const FAMILIES = [
  { family: "IPv4", addresses: ["10.9.0.1", "10.9.0.2"], options: ["24"], vip: (index: number) => `192.0.2.${80 + index}` },
  { family: "IPv6", addresses: ["fd09::1", "fd09::2"], options: ["64", "nodad"], vip: (index: number) => `fd00::8${index}` },
] as const;
const PATIENCE = { timeout: 30_000, interval: 20 };

type FactOf<Kind extends FromPacketThread["kind"]> = Extract<FromPacketThread, { kind: Kind }>;

/** One speaker's process, and what it told. */
class Speaker {
  readonly facts: HeardFact[] = [];
  readonly #child: ChildProcessWithoutNullStreams;
  #errors = "";
  #exit: number | string | undefined;

  constructor(namespace: string, node: string, address: string) {
    // `exec` replaces the helper: a signal reaches the speaker itself.
    this.#child = spawn("ip", ["netns", "exec", namespace, process.execPath, PROGRAM, node, address]);
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.facts.push(JSON.parse(line) as HeardFact));
    this.#child.stderr.on("data", (text) => (this.#errors += String(text)));
    // It may end while a message is on its way.
    this.#child.stdin.on("error", () => {});
    this.#child.on("exit", (code, signal) => (this.#exit = code ?? signal ?? "unknown"));
  }

  send(message: ToPacketThread): void {
    this.#child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  signal(signal: "SIGTERM" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    this.#child.kill(signal);
  }

  of<Kind extends FromPacketThread["kind"]>(kind: Kind): (FactOf<Kind> & { readonly atUnixMs: number })[] {
    return this.facts.flatMap(({ fact, atUnixMs }) => (fact.kind === kind ? [{ ...(fact as FactOf<Kind>), atUnixMs }] : []));
  }

  /** What it announces, by all that it told. */
  owns(): string[] {
    const owned = new Set<string>();
    for (const { fact } of this.facts) {
      if (fact.kind === "owned") owned.add(fact.address);
      else if (fact.kind === "lost") owned.delete(fact.address);
    }
    return [...owned].sort();
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    await vi.waitFor(() => expect(holds(), `${what}; ${this.#errors}${this.facts.slice(-20).map(inShort).join(", ")}`).toBe(true), PATIENCE);
  }

  async ended(): Promise<number | string | undefined> {
    await this.until("the process ends", () => this.#exit !== undefined);
    return this.#exit;
  }
}

/** A fact's kind, and what says which one it is, when: a whole one would fill the report. */
function inShort({ fact, atUnixMs }: HeardFact): string {
  const { address, node, state, reason, class: verdict } = fact as Partial<Record<"address" | "node" | "state" | "reason" | "class", string>>;
  return `${atUnixMs % 100_000} ${[fact.kind, address, node, state, verdict, reason].filter((word) => word !== undefined).join(" ")}`;
}

const why = whyNoNamespaces();
describe.skipIf(why !== undefined).each(FAMILIES)(`two packet threads on one cable, $family${why === undefined ? "" : ` (${why})`}`, { timeout: 120_000 }, ({ family, addresses, options, vip }) => {
  const rows: readonly AddressRow[] = Array.from({ length: 8 }, (_, index) => ({ address: vip(index), group: vip(index), interfaces: "all", candidates: CANDIDATES }));
  const ALL = rows.map(({ address }) => address);
  const [firstAddress, secondAddress] = addresses;
  let pair: VethPair;
  let one: Speaker;
  let two: Speaker;

  beforeEach(async () => {
    pair = makeVethPair("two");
    const [prefixLength, ...flags] = options;
    pair.ip(pair.speaker, "address", "add", `${firstAddress}/${prefixLength}`, "dev", "eth0", ...flags);
    pair.ip(pair.client, "address", "add", `${secondAddress}/${prefixLength}`, "dev", "eth0", ...flags);
    one = new Speaker(pair.speaker, "node1", firstAddress);
    two = new Speaker(pair.client, "node2", secondAddress);
    for (const [speaker, peer] of [[one, { node: "node2", address: secondAddress }], [two, { node: "node1", address: firstAddress }]] as const) {
      speaker.send({ kind: "peers", peers: [peer] });
      speaker.send({ kind: "fresh", fresh: true });
    }
    const all = (): string[] => [...one.owns(), ...two.owns()].sort();
    await one.until("node1 knows node2", () => one.of("member").some(({ node, state, isHerald }) => node === "node2" && state === "alive" && isHerald));
    await two.until("node2 knows node1", () => two.of("member").some(({ node, state, isHerald }) => node === "node1" && state === "alive" && isHerald));
    // Only now, for one that comes up long after the other finds every address taken.
    for (const speaker of [one, two]) speaker.send({ kind: "table", version: 1, full: true, upsert: rows, remove: [] });
    // Each address once: a second owner would make the list longer.
    await vi.waitFor(() => expect(all()).toEqual(ALL), PATIENCE);
  });
  afterEach(async () => {
    for (const speaker of [one, two]) speaker.signal("SIGKILL");
    for (const speaker of [one, two]) await speaker.ended();
    pair.remove();
  });

  test("what a killed process announced the other one takes over, as its kernel says that nobody listens", async () => {
    const orphans = one.owns();
    expect(orphans.length).toBeGreaterThan(0);
    one.signal("SIGKILL");
    await two.until("node2 owns everything", () => two.owns().length === ALL.length);
    expect(two.of("verdict").at(-1)).toMatchObject({ node: "node1", class: "processGone" });
    for (const address of orphans) expect(two.of("owned").findLast((fact) => fact.address === address)?.reason).toBe("OwnerDead");
  });

  // What follows is the election's, whatever carries it.
  if (family !== "IPv4") return;
  test("who is told to stop loses nothing before the other one has it", async () => {
    const leaving = one.owns();
    expect(leaving.length).toBeGreaterThan(0);
    one.signal("SIGTERM");
    expect(await one.ended()).toBe(0);
    await two.until("node2 owns everything", () => two.owns().length === ALL.length);
    expect(one.owns()).toEqual([]);
    expect(one.of("handingOver").map(({ address, to }) => `${address} ${to}`).sort()).toEqual(leaving.map((address) => `${address} node2`));
    for (const address of leaving) {
      const taken = two.of("owned").findLast((fact) => fact.address === address);
      const given = one.of("lost").findLast((fact) => fact.address === address);
      expect(taken?.reason).toBe("HandedOver");
      expect(given?.reason).toBe("HandedOver");
      // When the packet thread took it, and when the other's main thread heard that it went: never too early.
      expect(taken?.sinceUnixMs ?? Infinity).toBeLessThanOrEqual(given?.atUnixMs ?? 0);
    }
    await two.until("node2 heard the goodbye", () => two.of("member").some(({ node, state }) => node === "node1" && state === "left"));
    expect(two.of("verdict").map((verdict) => verdict.class)).not.toContain("processGone");
  });

  test("a process that stood still has one owner for each address in the end: of two nodes alone, the one whose claim was witnessed", async () => {
    const held = one.owns();
    one.signal("SIGSTOP");
    await two.until("node2 owns everything", () => two.owns().length === ALL.length);
    expect(two.of("verdict").at(-1)).toMatchObject({ node: "node1", class: "paused" });
    const before = two.of("lost").length;
    one.signal("SIGCONT");
    // No gateway witnessed node2's claims: they served while node1 was away.
    await two.until("node2 gives back what it took", () => two.owns().every((address) => !held.includes(address)));
    expect(two.of("lost").slice(before).map(({ address, reason }) => `${address} ${reason}`).sort()).toEqual(held.map((address) => `${address} BetterClaim`));
    await two.until("node2 sees node1 again", () => two.of("member").at(-1)?.state === "alive");
    expect([...one.owns(), ...two.owns()].sort()).toEqual(ALL);
    one.send({ kind: "collect" });
    await one.until("node1 noticed", () => one.of("counters").some(({ dropped }) => (dropped["woke"] ?? 0) > 0));
  });
});
