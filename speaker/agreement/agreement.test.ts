import { describe, expect, test } from "vitest";

import { seededRandom } from "../../sys/random.ts";
import { PROFILES } from "../detection/profiles.ts";
import { LAN_TIMING } from "../membership/membership-protocol.ts";
import type { AddressRow, InterfaceFact } from "../packet-protocol.ts";
import { Agreement } from "./agreement.ts";
import type { AgreementInput, AgreementOutput } from "./agreement-protocol.ts";

const START_UNIX_MS = 1_800_000_000_000;
const LATENCY_MS = 0.2;
const eth0: InterfaceFact = { name: "eth0", index: 2, mac: "02:00:00:00:00:01", usable: true };

interface Speaker {
  readonly node: string;
  readonly address: string;
  agreement: Agreement;
  isUp: boolean;
  /** Its process ended, and its kernel goes on answering. */
  hasKernel?: boolean;
  /** What waits in the sockets of a process that stands still. */
  waiting: AgreementInput[] | undefined;
  readonly owned: Set<string>;
  readonly outputs: AgreementOutput[];
}

/** Speakers on one segment where nothing is ever lost; test/sim has the segments where it is. */
class Segment {
  now = 0;
  readonly speakers: Speaker[] = [];
  #events: { readonly at: number; readonly to: Speaker; readonly input: AgreementInput }[] = [];
  readonly #streams = new Map<string, { readonly peer: Speaker; readonly id: number }>();
  #accepted = 1;

  add(node: string, at: number, keys: readonly Uint8Array[] = []): Speaker {
    const address = `172.20.0.${this.speakers.length + 11}`;
    const speaker = { node, address, agreement: newAgreement(node, address, START_UNIX_MS + at, keys), isUp: true, waiting: undefined, owned: new Set<string>(), outputs: [] };
    this.speakers.push(speaker);
    return speaker;
  }

  give(speaker: Speaker, input: AgreementInput): void {
    if (!speaker.isUp) return;
    if (speaker.waiting !== undefined) {
      if (input.kind !== "timeout") speaker.waiting.push(input);
      return;
    }
    for (const output of speaker.agreement.handle(input, this.now)) {
      speaker.outputs.push(output);
      this.#perform(speaker, output);
    }
  }

  runFor(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const timeouts = this.speakers.flatMap((speaker) => (speaker.isUp && speaker.waiting === undefined ? [{ at: Math.max(this.now, speaker.agreement.nextTimeout() ?? Infinity), to: speaker, input: { kind: "timeout" } as const }] : []));
      const next = [...this.#events, ...timeouts].toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.#events = this.#events.filter((event) => event !== next);
      this.now = next.at;
      this.give(next.to, next.input);
    }
    this.now = end;
  }

  #later(to: Speaker | undefined, input: AgreementInput): void {
    if (to !== undefined) this.#events.push({ at: this.now + LATENCY_MS, to, input });
  }

  #perform(from: Speaker, output: AgreementOutput): void {
    const at = (address: string): Speaker | undefined => this.speakers.find((speaker) => speaker.address === address);
    const end = (stream: number): { readonly peer: Speaker; readonly id: number } | undefined => this.#streams.get(`${from.node}/${stream}`);
    switch (output.kind) {
      case "owned":
        from.owned.add(output.address);
        return;
      case "lost":
        from.owned.delete(output.address);
        return;
      case "datagram":
        return this.#later(at(output.to.address), { kind: "datagram", from: { address: from.address, port: 7946 }, bytes: output.bytes.slice() });
      case "connect": {
        const peer = at(output.to.address);
        if (peer === undefined || !peer.isUp) return;
        const id = (this.#accepted += 2);
        this.#streams.set(`${from.node}/${output.stream}`, { peer, id });
        this.#streams.set(`${peer.node}/${id}`, { peer: from, id: output.stream });
        this.#later(peer, { kind: "streamAccepted", stream: id, from: { address: from.address, port: 40_000 } });
        return this.#later(from, { kind: "streamConnected", stream: output.stream });
      }
      case "streamSend":
        return this.#later(end(output.stream)?.peer, { kind: "streamBytes", stream: end(output.stream)?.id ?? 0, bytes: output.bytes.slice() });
      case "streamEnd":
      case "streamClose":
        return this.#later(end(output.stream)?.peer, { kind: "streamEnded", stream: end(output.stream)?.id ?? 0 });
      case "ask":
        if (at(output.address)?.isUp === true) for (const question of output.questions) this.#later(from, { kind: "answer", address: output.address, question, result: "answered" });
        else if (at(output.address)?.hasKernel === true) this.#later(from, { kind: "answer", address: output.address, question: "tcp", result: "refused" });
        return;
      case "askSegment":
        if (output.addresses.some((address) => at(address)?.isUp === true || at(address)?.hasKernel === true)) this.#later(from, { kind: "frame", interfaceIndex: output.interfaceIndex });
        return;
      default:
        return;
    }
  }
}

function newAgreement(node: string, address: string, bootUnixMs: number, keys: readonly Uint8Array[] = []): Agreement {
  const options = { node, endpoint: { address, port: 7946 }, bootUnixMs, keys, timing: LAN_TIMING, profile: PROFILES.default, failback: "sticky", template: "" } as const;
  return new Agreement(options, seededRandom(address.length + bootUnixMs), (now) => START_UNIX_MS + now);
}

const ADDRESSES = Array.from({ length: 12 }, (_, index) => `172.20.255.${200 + index}`);

function rowFor(address: string, nodes: readonly string[]): AddressRow {
  return { address, group: address, interfaces: "all", candidates: nodes.map((node) => ({ node, score: 0 })) };
}

function start(segment: Segment, speaker: Speaker): void {
  const others = segment.speakers.filter((other) => other !== speaker);
  segment.give(speaker, { kind: "interfaces", interfaces: [eth0] });
  segment.give(speaker, { kind: "peers", peers: others.map(({ node, address }) => ({ node, address })) });
  for (const address of ADDRESSES) segment.give(speaker, { kind: "row", row: rowFor(address, segment.speakers.map(({ node }) => node)) });
  segment.give(speaker, { kind: "ready" });
  segment.give(speaker, { kind: "fresh", fresh: true });
}

function threeSpeakers(keys: readonly Uint8Array[] = []): Segment {
  const segment = new Segment();
  for (const node of ["node1", "node2", "node3"]) segment.add(node, 0, keys);
  for (const speaker of segment.speakers) start(segment, speaker);
  segment.runFor(4000);
  return segment;
}

function owners(segment: Segment, address: string): string[] {
  return segment.speakers.filter(({ isUp, owned }) => isUp && owned.has(address)).map(({ node }) => node);
}

describe("three speakers that agree", () => {
  test.each([{ what: "in the clear", keys: [] }, { what: "encrypted", keys: [new Uint8Array(32).fill(7)] }])("each address has one owner, and not all the same ($what)", ({ keys }) => {
    const segment = threeSpeakers(keys);
    for (const address of ADDRESSES) expect(owners(segment, address), address).toHaveLength(1);
    expect(new Set(ADDRESSES.flatMap((address) => owners(segment, address))).size).toBe(3);
  });

  test("one loses power: its addresses, and no others, are taken within 450 ms", () => {
    const segment = threeSpeakers();
    const before = new Map(ADDRESSES.map((address) => [address, owners(segment, address)[0]]));
    const victim = segment.speakers[0];
    if (victim === undefined) throw new Error("no speaker");
    victim.isUp = false;
    segment.runFor(450);
    for (const address of ADDRESSES) {
      expect(owners(segment, address), address).toHaveLength(1);
      if (before.get(address) !== victim.node) expect(owners(segment, address), address).toEqual([before.get(address)]);
    }
  });

  test("of two one's process ends: its kernel, asked, proves to the other that it hears the segment", () => {
    const segment = new Segment();
    for (const node of ["node1", "node2"]) segment.add(node, 0);
    for (const speaker of segment.speakers) start(segment, speaker);
    segment.runFor(4000);
    const [one, two] = segment.speakers;
    if (one === undefined || two === undefined) throw new Error("no speakers");
    expect(one.owned.size).toBeGreaterThan(0);
    one.isUp = false;
    one.hasKernel = true;
    segment.runFor(450);
    expect([...two.owned].sort()).toEqual([...ADDRESSES].sort());
  });

  test("one stops in an orderly way: at every moment somebody answers, and it says that it is done", () => {
    const segment = threeSpeakers();
    const leaver = segment.speakers.find(({ owned }) => owned.size > 0);
    if (leaver === undefined) throw new Error("nobody owns anything");
    segment.give(leaver, { kind: "stop" });
    for (let step = 0; step < 300; step++) {
      for (const address of ADDRESSES) expect(owners(segment, address).length, `${address} after ${step * 5} ms`).toBeGreaterThan(0);
      segment.runFor(5);
    }
    expect(leaver.outputs.at(-1) === undefined).toBe(false);
    expect(leaver.outputs.some(({ kind }) => kind === "stopped")).toBe(true);
    expect(leaver.owned.size).toBe(0);
  });

  test.each([
    ["an hour", 3_600_000],
    ["ten seconds", 10_000],
  ])("one starts again with its clock %s back: the others hear it, and it takes part as before", (_, backMs) => {
    const segment = threeSpeakers();
    const [one, two, three] = segment.speakers;
    if (one === undefined || two === undefined || three === undefined) throw new Error("no speakers");
    one.isUp = false;
    segment.runFor(1000);
    one.agreement = newAgreement(one.node, one.address, START_UNIX_MS - backMs);
    one.owned.clear();
    one.isUp = true;
    start(segment, one);
    segment.runFor(5000);
    const seen = two.outputs.length;
    three.isUp = false;
    segment.runFor(2000);
    // The third is gone: the one whose clock is wrong takes its part.
    for (const address of ADDRESSES) expect(owners(segment, address), address).toHaveLength(1);
    expect(two.outputs.slice(seen).some((output) => output.kind === "verdict" && output.node === one.node)).toBe(false);
    expect(one.owned.size).toBeGreaterThan(0);
  });

  test("one whose clock was years ahead starts again with the right time, when membership has forgotten it: the others hear it", () => {
    const segment = threeSpeakers();
    const [one, , three] = segment.speakers;
    if (one === undefined || three === undefined) throw new Error("no speakers");
    for (const [awayMs, bootUnixMs] of [[1000, START_UNIX_MS + 2 * 365 * 86_400_000], [90_000, START_UNIX_MS + 200_000]] as const) {
      one.isUp = false;
      segment.runFor(awayMs);
      one.agreement = newAgreement(one.node, one.address, bootUnixMs);
      one.owned.clear();
      one.isUp = true;
      start(segment, one);
      segment.runFor(8000);
    }
    three.isUp = false;
    segment.runFor(2000);
    for (const address of ADDRESSES) expect(owners(segment, address), address).toHaveLength(1);
    expect(one.owned.size).toBeGreaterThan(0);
  });

  test("one stands still for three seconds: when it wakes, it answers for nothing that others have taken", () => {
    const segment = threeSpeakers();
    const sleeper = segment.speakers.find(({ owned }) => owned.size > 0);
    if (sleeper === undefined) throw new Error("nobody owns anything");
    const before = [...sleeper.owned];
    sleeper.waiting = [];
    segment.runFor(3000);
    for (const address of before) expect(owners(segment, address), address).toHaveLength(2);
    const waiting = sleeper.waiting;
    sleeper.waiting = undefined;
    sleeper.outputs.length = 0;
    segment.give(sleeper, { kind: "woke", lagMs: 3000 });
    for (const input of waiting) segment.give(sleeper, input);
    segment.runFor(500);
    const kinds = sleeper.outputs.map(({ kind }) => kind).filter((kind) => ["silence", "lost", "speak"].includes(kind));
    expect(kinds).toEqual(["silence", ...before.map(() => "lost"), "speak"]);
    for (const address of ADDRESSES) expect(owners(segment, address), address).toHaveLength(1);
  });

  test("garbage, and messages played again, change nothing and are counted", () => {
    const segment = threeSpeakers();
    const [one, two] = segment.speakers;
    if (one === undefined || two === undefined) throw new Error("no speakers");
    const seen = two.outputs.filter((output) => output.kind === "datagram");
    const before = ADDRESSES.map((address) => owners(segment, address));
    for (const output of seen) segment.give(one, { kind: "datagram", from: { address: two.address, port: 7946 }, bytes: output.bytes });
    segment.give(one, { kind: "datagram", from: { address: "172.20.0.99", port: 7946 }, bytes: new Uint8Array([8, 0x48, 2, 2, 0, 1]) });
    segment.runFor(1000);
    expect(ADDRESSES.map((address) => owners(segment, address))).toEqual(before);
    const dropped = one.outputs.flatMap((output) => (output.kind === "dropped" ? [output.reason] : []));
    expect(dropped).toContain("heraldMessageReplayed");
    expect(dropped).toContain("heraldMessageMalformed");
  });
});
