/**
 * Whatever the elector concludes, and whenever requests come: what this node says on the segment is about what it owns.
 */

import fc from "fast-check";
import { expect, test } from "vitest";

import { FakeInterfaceMonitor } from "../sys/interfaces-fake.ts";
import { FakeSegment } from "../sys/packet-socket-fake.ts";
import type { FakePacketSocket } from "../sys/packet-socket-fake.ts";
import { FakePoller } from "../sys/poll-fake.ts";
import { formatIpAddress, parseIpAddress } from "../wire/ip-address.ts";
import { multicastMac, solicitedNodeGroup } from "../wire/ipv6-multicast.ts";
import { BROADCAST_MAC, parseMacAddress, ZERO_MAC } from "../wire/mac-address.ts";
import type { AgreementOutput } from "./agreement/agreement-protocol.ts";
import { Driver, MAX_WAIT_MS } from "./driver.ts";
import { FakeAgreementDoor, ScriptedElector } from "./fake-agreement.ts";
import { ArpOperation, decodeArpPacket, encodeArpPacket } from "./layer2/arp-packet.ts";
import { decodeNeighborMessage, encodeNeighborMessage } from "./layer2/ndp-packet.ts";
import { PacketCounters } from "./packet-counters.ts";

const MAC = parseMacAddress("02:00:00:00:00:0a");
const CLIENT_MAC = parseMacAddress("02:00:00:00:00:01");
const PEERS_FD = -700;
const ADDRESSES = ["192.0.2.80", "192.0.2.81", "fd00::80", "fd00:1::80"];

/** What the elector concludes. */
type Conclusion = { readonly kind: "own" | "lose" | "handOver" | "announceAgain"; readonly address: string } | { readonly kind: "silence" | "speak" };
/** A conclusion, a request from the segment, or time that passes. */
type Step = Conclusion | { readonly kind: "ask"; readonly address: string } | { readonly kind: "sleep"; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constantFrom("own", "lose", "handOver", "announceAgain"), address: fc.constantFrom(...ADDRESSES) }),
  fc.record({ kind: fc.constant("ask"), address: fc.constantFrom(...ADDRESSES) }),
  fc.record({ kind: fc.constantFrom("silence", "speak") }),
  fc.record({ kind: fc.constant("sleep"), ms: fc.constantFrom(10, 70, 400, 1_500, 70_000) }),
);

class Scene {
  now = 0;
  readonly owned = new Set<string>();
  /** Owned, and being handed over. */
  readonly leaving = new Set<string>();
  isSilent = false;
  readonly #segment = new FakeSegment();
  readonly #client = this.#segment.open();
  readonly #ipv6Client = this.#segment.open("IPv6");
  readonly #sockets: FakePacketSocket[] = [];
  readonly #elector = new ScriptedElector(() => {});
  readonly #door = new FakeAgreementDoor({ fd: PEERS_FD, spend: () => {} });
  readonly #poller = new FakePoller({
    isReadable: (fd) => (fd === PEERS_FD ? this.#door.waiting.length > 0 : this.#sockets.some((socket) => socket.fd === fd && socket.waiting > 0)),
    onWait: (timeoutMs) => (this.now += timeoutMs),
  });
  readonly #driver: Driver;

  constructor() {
    this.#poller.add(PEERS_FD);
    this.#driver = new Driver(
      { exclude: [] },
      {
        clock: { now: () => this.now, wallMs: () => this.now },
        random: { next: () => 0.5 },
        poller: this.#poller,
        interfaces: new FakeInterfaceMonitor([{ index: 2, name: "eth0", up: true, carrier: true, broadcast: true, noArp: false, mac: MAC, linkLocal: "fe80::a" }]),
        wake: { fd: -800, drain: () => {} },
        openSocket: (_index, family) => {
          const socket = this.#segment.open(family);
          this.#sockets.push(socket);
          return socket;
        },
        receive: () => undefined,
        post: () => {},
        sliceTaken: () => {},
        beat: () => {},
        trimHeap: () => {},
        counters: new PacketCounters(),
        elector: this.#elector,
        agreement: this.#door,
      },
    );
  }

  /** Takes a step, and a turn or two; every frame that leaves in them is held against what the elector said. */
  take(taken: Step): void {
    if (taken.kind === "sleep") this.now += taken.ms;
    else if (taken.kind === "ask") this.#ask(taken.address);
    else this.#conclude(taken);
    const isAnswerDue = taken.kind === "ask" && this.owned.has(taken.address) && !this.isSilent;
    this.#driver.turn();
    const answered = this.#check();
    expect(answered).toEqual(isAnswerDue ? [taken.address] : []);
    this.#driver.turn();
    expect(this.#check()).toEqual([]);
    expect(this.#poller.waits.every((ms) => Number.isInteger(ms) && ms >= 0 && ms <= MAX_WAIT_MS)).toBe(true);
  }

  #conclude(taken: Conclusion): void {
    this.#elector.script.set("datagram", [this.#conclusion(taken)].filter((output) => output !== undefined));
    this.#door.waiting.push({ kind: "datagram", from: { address: "192.0.2.2", port: 7946 }, bytes: new Uint8Array(0) });
  }

  #conclusion(taken: Conclusion): AgreementOutput | undefined {
    if (!("address" in taken)) {
      this.isSilent = taken.kind === "silence";
      return { kind: taken.kind };
    }
    const { address } = taken;
    if (taken.kind === "own") {
      const isNew = !this.owned.has(address);
      this.owned.add(address);
      this.leaving.delete(address);
      return { kind: "owned", address, reason: "FirstInRank", interfaces: [{ name: "eth0", index: 2, mac: MAC, usable: true }], taken: isNew };
    }
    if (!this.owned.has(address)) return undefined;
    if (taken.kind === "lose") {
      this.owned.delete(address);
      this.leaving.delete(address);
      return { kind: "lost", address, reason: "BetterClaim" };
    }
    if (taken.kind === "handOver") {
      this.leaving.add(address);
      return { kind: "handingOver", address, to: "node2" };
    }
    return this.leaving.has(address) ? undefined : { kind: "reannounce", address };
  }

  /** The addresses that were answered for. */
  #check(): string[] {
    const answered: string[] = [];
    for (const { address, isAnswer } of this.#heard()) {
      expect(this.owned.has(address) && !this.isSilent, `${address} in a frame`).toBe(true);
      if (isAnswer) answered.push(address);
      else expect(this.leaving.has(address), `${address} announced`).toBe(false);
    }
    return answered;
  }

  /** What the segment heard, of both families. */
  *#heard(): Generator<{ readonly address: string; readonly isAnswer: boolean }> {
    const buffer = new Uint8Array(100);
    for (let length = this.#client.receive(buffer); length !== undefined; length = this.#client.receive(buffer)) {
      const { operation, senderProtocolAddress } = decodeArpPacket(buffer.subarray(0, length));
      yield { address: formatIpAddress(senderProtocolAddress), isAnswer: operation === ArpOperation.reply };
    }
    for (let length = this.#ipv6Client.receive(buffer); length !== undefined; length = this.#ipv6Client.receive(buffer)) {
      const message = decodeNeighborMessage(buffer.subarray(0, length));
      yield { address: formatIpAddress(message.target), isAnswer: message.kind === "advertisement" && message.solicited };
    }
  }

  #ask(address: string): void {
    const target = parseIpAddress(address);
    if (target.family === "IPv6") {
      this.#ipv6Client.send(
        encodeNeighborMessage({
          kind: "solicitation",
          ethernetDestination: multicastMac(solicitedNodeGroup(target)),
          ethernetSource: CLIENT_MAC,
          source: parseIpAddress("fd00::1"),
          destination: solicitedNodeGroup(target),
          target,
          options: [],
        }),
      );
      return;
    }
    this.#client.send(
      encodeArpPacket({
        ethernetDestination: BROADCAST_MAC,
        ethernetSource: CLIENT_MAC,
        operation: ArpOperation.request,
        senderHardwareAddress: CLIENT_MAC,
        senderProtocolAddress: parseIpAddress("192.0.2.1"),
        targetHardwareAddress: ZERO_MAC,
        targetProtocolAddress: target,
      }),
    );
  }
}

test("answers exactly for what is owned, announces only what it keeps, and is silent when told", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const scene = new Scene();
      for (const taken of steps) scene.take(taken);
    }),
    { numRuns: 300 },
  );
});
