import { beforeEach, describe, expect, test } from "vitest";

import type { Instant } from "../../speaker/machine.ts";
import { seededRandom } from "../../sys/random.ts";
import { GOOD_LINKS } from "./links.ts";
import { MEMBERSHIP_PORT, Network, RING_PACKETS } from "./network.ts";
import type { NetworkInput, NetworkOutput } from "./network.ts";

const ADDRESSES = ["10.0.0.0", "10.0.0.1", "10.0.0.2"];
const to = (host: number): { readonly address: string; readonly port: number } => ({ address: ADDRESSES[host] ?? "", port: MEMBERSHIP_PORT });
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

let network: Network;
let now: Instant;
let arrived: (NetworkOutput & { readonly at: Instant })[];

function perform(input: NetworkInput): void {
  arrived.push(...network.handle(input, now).map((output) => ({ ...output, at: now })));
}

function run(ms: number): void {
  const end = now + ms;
  for (let next = network.nextTimeout(); next !== undefined && next <= end; next = network.nextTimeout()) {
    now = next;
    perform({ kind: "timeout" });
  }
  now = end;
}

/** What reached a host, by kind; stream bytes as text. */
function reached(host: number): string[] {
  return arrived.filter((output) => output.host === host).map(({ input }) => (input.kind === "streamBytes" ? `bytes ${new TextDecoder().decode(input.bytes)}` : input.kind));
}

function texts(host: number): string {
  return arrived.flatMap(({ host: at, input }) => (at === host && input.kind === "streamBytes" ? [new TextDecoder().decode(input.bytes)] : [])).join("");
}

beforeEach(() => {
  network = new Network(ADDRESSES, seededRandom(1));
  now = 0;
  arrived = [];
  for (const host of [0, 1, 2]) perform({ kind: "process", host, isRunning: true });
});

describe("datagrams", () => {
  test("arrive once, after the latency, from the sender's address", () => {
    perform({ kind: "datagram", from: 0, to: to(1), bytes: bytes("a") });
    run(10);
    expect(arrived).toHaveLength(1);
    expect(arrived[0]).toMatchObject({ host: 1, from: 0, input: { kind: "datagram", from: { address: "10.0.0.0", port: MEMBERSHIP_PORT } } });
    expect(arrived[0]?.at).toBeGreaterThanOrEqual(GOOD_LINKS.latencyMs);
  });

  test("a cut direction carries nothing, the other one does; two cuts need two mends", () => {
    perform({ kind: "cut", from: 0, to: 1 });
    perform({ kind: "cut", from: 0, to: 1 });
    perform({ kind: "datagram", from: 0, to: to(1), bytes: bytes("a") });
    perform({ kind: "datagram", from: 1, to: to(0), bytes: bytes("a") });
    perform({ kind: "mend", from: 0, to: 1 });
    perform({ kind: "datagram", from: 0, to: to(1), bytes: bytes("a") });
    run(10);
    expect(arrived.map(({ host }) => host)).toEqual([0]);
    perform({ kind: "mend", from: 0, to: 1 });
    perform({ kind: "datagram", from: 0, to: to(1), bytes: bytes("a") });
    run(10);
    expect(arrived.map(({ host }) => host)).toEqual([0, 1]);
    expect(network.links.counters.cut).toBe(2);
  });

  test("are lost, doubled and overtaken as often as the quality says", () => {
    perform({ kind: "quality", quality: { ...GOOD_LINKS, loss: 0.2, duplication: 0.1, late: 0.1, lateMs: 50 } });
    for (let index = 0; index < 2000; index++) perform({ kind: "datagram", from: 0, to: to(1), bytes: Uint8Array.of(index >> 8, index & 255) });
    run(100);
    const { lost, duplicated, late } = network.links.counters;
    for (const [count, expected] of [[lost, 400], [duplicated, 160], [late, 176]] as const) expect(Math.abs(count - expected)).toBeLessThan(60);
    expect(arrived).toHaveLength(2000 - lost + duplicated);
    const order = arrived.map(({ input }) => (input.kind === "datagram" ? (input.bytes[0] ?? 0) * 256 + (input.bytes[1] ?? 0) : 0));
    expect(order).not.toEqual(order.toSorted((a, b) => a - b));
  });

  test("the same seed gives the same run", () => {
    const story = (): string => {
      const twin = new Network(ADDRESSES, seededRandom(7));
      twin.handle({ kind: "process", host: 1, isRunning: true }, 0);
      twin.handle({ kind: "quality", quality: { ...GOOD_LINKS, loss: 0.5, late: 0.5, lateMs: 9 } }, 0);
      for (let index = 0; index < 50; index++) twin.handle({ kind: "datagram", from: 0, to: to(1), bytes: Uint8Array.of(index) }, index);
      const outputs: unknown[] = [];
      for (let next = twin.nextTimeout(); next !== undefined; next = twin.nextTimeout()) outputs.push(next, twin.handle({ kind: "timeout" }, Math.max(next, 50)));
      return JSON.stringify(outputs);
    };
    expect(story()).toBe(story());
  });
});

describe("kernels", () => {
  const ask = (host: number): NetworkInput => ({ kind: "ask", from: 0, address: to(host).address, questions: ["arp", "icmp", "tcp"] });
  const answers = (): string[] => arrived.flatMap(({ input }) => (input.kind === "answer" ? [`${input.question} ${input.result}`] : [])).toSorted();

  test("answer by themselves; without a process TCP is refused", () => {
    perform(ask(1));
    run(10);
    expect(answers()).toEqual(["arp answered", "icmp answered", "tcp answered"]);
    arrived = [];
    perform({ kind: "process", host: 1, isRunning: false });
    perform(ask(1));
    run(10);
    expect(answers()).toEqual(["arp answered", "icmp answered", "tcp refused"]);
  });

  test.each(["off", "frozen"] as const)("one that is %s answers nothing", (state) => {
    perform({ kind: "kernel", host: 1, state });
    perform(ask(1));
    run(100);
    expect(answers()).toEqual([]);
  });

  test("a frozen one answers what its card's ring still holds, and no more than that", () => {
    perform({ kind: "kernel", host: 1, state: "frozen" });
    for (let index = 0; index < RING_PACKETS + 10; index++) perform({ kind: "datagram", from: 0, to: to(1), bytes: Uint8Array.of(index & 255) });
    run(100);
    expect(arrived).toEqual([]);
    perform({ kind: "kernel", host: 1, state: "on" });
    expect(arrived).toHaveLength(RING_PACKETS);
    expect(network.unread).toBe(10);
  });

  test("a broadcast is heard by all others, and who is asked for answers with a frame", () => {
    perform({ kind: "broadcast", from: 0, addresses: [to(2).address] });
    run(10);
    expect(arrived.map(({ host, from, input }) => [host, from, input.kind]).toSorted()).toEqual([
      [0, 2, "frame"],
      [1, 0, "frame"],
      [2, 0, "frame"],
    ]);
  });
});

describe("streams", () => {
  test("bytes arrive whole and in order, with loss too, then the end", () => {
    perform({ kind: "quality", quality: { ...GOOD_LINKS, loss: 0.2 } });
    perform({ kind: "connect", from: 0, stream: 2, to: to(1) });
    run(5000);
    expect(reached(0)).toEqual(["streamConnected"]);
    for (const word of ["one ", "two ", "three"]) {
      perform({ kind: "streamSend", from: 0, stream: 2, bytes: bytes(word) });
      run(0.05);
    }
    perform({ kind: "streamEnd", from: 0, stream: 2 });
    run(5000);
    expect(texts(1)).toBe("one two three");
    expect(reached(1).at(0)).toBe("streamAccepted");
    expect(reached(1).at(-1)).toBe("streamEnded");
    perform({ kind: "streamSend", from: 1, stream: 1, bytes: bytes("answer") });
    perform({ kind: "streamClose", from: 1, stream: 1 });
    run(5000);
    expect(texts(0)).toBe("answer");
    expect(reached(0).at(-1)).toBe("streamEnded");
  });

  test("nobody listens: refused; nobody there: timed out", () => {
    perform({ kind: "process", host: 1, isRunning: false });
    perform({ kind: "kernel", host: 2, state: "off" });
    perform({ kind: "connect", from: 0, stream: 2, to: to(1) });
    perform({ kind: "connect", from: 0, stream: 4, to: to(2) });
    run(60_000);
    expect(arrived.map(({ input }) => input)).toEqual([
      { kind: "streamFailed", stream: 2, reason: "connectionRefused" },
      { kind: "streamFailed", stream: 4, reason: "timedOut" },
    ]);
  });

  test("a killed process resets its streams; after a cut, a sender's stream times out", () => {
    perform({ kind: "connect", from: 0, stream: 2, to: to(1) });
    perform({ kind: "connect", from: 0, stream: 4, to: to(2) });
    run(10);
    perform({ kind: "process", host: 1, isRunning: false });
    perform({ kind: "cut", from: 0, to: 2 });
    perform({ kind: "streamSend", from: 0, stream: 4, bytes: bytes("lost") });
    run(60_000);
    expect(arrived.filter(({ host }) => host === 0).map(({ input }) => (input.kind === "streamFailed" ? `${input.stream} ${input.reason}` : input.kind))).toEqual([
      "streamConnected",
      "streamConnected",
      "2 connectionReset",
      "4 timedOut",
    ]);
  });

  test("a short cut delays the bytes and loses none", () => {
    perform({ kind: "connect", from: 0, stream: 2, to: to(1) });
    run(10);
    perform({ kind: "cut", from: 0, to: 1 });
    perform({ kind: "streamSend", from: 0, stream: 2, bytes: bytes("late") });
    run(1000);
    expect(texts(1)).toBe("");
    perform({ kind: "mend", from: 0, to: 1 });
    run(3000);
    expect(texts(1)).toBe("late");
  });
});
