/**
 * The packet thread's one loop: wait, take inputs to the machines, perform their outputs, compute the next wait. It has
 * no timers, and all it does comes in through `DriverPorts`.
 *
 * The order within a turn is the protocol's (docs/leadership.md, waking up): first what peers said, then what ran out of
 * time, then ARP and NDP. A process that slept hears that its addresses have gone before it answers for them.
 */

import type { AgreementInput, AgreementOutput } from "./agreement/agreement-protocol.ts";
import { Announcing } from "./announcing.ts";
import type { DriverPorts } from "./driver-ports.ts";
import type { Elector } from "./elector.ts";
import type { OwnedOutput } from "./election/claims-protocol.ts";
import { type Instant, isDue } from "./machine.ts";
import type { PacketCounters } from "./packet-counters.ts";
import { Segments } from "./segments.ts";
import type { PacketThreadMessage, TableSlice } from "./table-queue.ts";

export interface DriverOptions {
  /** Interfaces never to announce on. */
  readonly exclude: readonly RegExp[];
  /** Canonical text of the address that the other speakers reach this node by, with membership. */
  readonly nodeAddress?: string | undefined;
}

/** Longest wait: a thread that shows no sign of life for much longer is stuck. */
export const MAX_WAIT_MS = 500;
/** Time per turn for the table; what is left waits for the next turn, behind the packets. */
export const TABLE_BUDGET_MS = 1;
/** How long after the last change of the table the burst is taken to be over, and its memory is given back. */
export const TRIM_AFTER_MS = 10_000;
/** A turn that comes so much too late is told to the machines: what they measured meanwhile was this process's own sleep. */
export const WOKE_AFTER_MS = 100;
/** Time for what peers said meanwhile. Less than WOKE_AFTER_MS: catching up under a flood must not look like another sleep. */
export const CATCH_UP_BUDGET_MS = 50;
/** How long handing over and saying goodbye may take, before the thread ends all the same. */
export const STOP_WITHIN_MS = 1_800;
/** Inputs that one input may cause through the doors: more is a loop. */
const MAX_FOLLOW_UPS = 10_000;

export class Driver {
  readonly #ports: DriverPorts;
  readonly #nodeAddress: string | undefined;
  readonly #elector: Elector;
  readonly #segments: Segments;
  readonly #announcing: Announcing;
  readonly #counters: PacketCounters;
  readonly #sinceUnixMs = new Map<string, number>();
  /** The slice that is being taken in, and how far. */
  #slice: { readonly slice: TableSlice; position: number } | undefined;
  #lastSequence = 0;
  #isReady = false;
  /** Messages may wait: those sent before the main thread knew the eventfd woke nobody. */
  #mayHaveMessages = true;
  /** When to give memory back; undefined when nothing has come since the last time. */
  #trimAt: Instant | undefined;
  /** How long the last turn worked. */
  #lastTurnMs = 0;
  #stopBy: Instant | undefined;
  #stopped = false;

  constructor(options: DriverOptions, ports: DriverPorts) {
    this.#ports = ports;
    this.#nodeAddress = options.nodeAddress;
    this.#elector = ports.elector;
    this.#counters = ports.counters;
    this.#announcing = new Announcing({
      random: ports.random,
      counters: ports.counters,
      now: () => ports.clock.now(),
      send: (interfaceIndex, bytes) => this.#segments.send(interfaceIndex, bytes),
      warn: (event, fields) => ports.post({ kind: "warning", event, fields }),
    });
    this.#segments = new Segments(
      {
        poller: ports.poller,
        interfaces: ports.interfaces,
        openSocket: (interfaceIndex, family) => ports.openSocket(interfaceIndex, family),
        up: (at, mac) => this.#announcing.up(at, mac),
        down: (at) => this.#announcing.down(at),
        dropped: (reason) => this.#counters.dropped(reason),
        warn: (event, fields) => ports.post({ kind: "warning", event, fields }),
      },
      options.exclude,
    );
    ports.poller.add(ports.wake.fd);
    ports.poller.add(ports.interfaces.fd);
    this.#segments.apply();
    this.#tellInterfaces("started");
  }

  /** Turns until told to stop. @throws SysError for what no retry mends, and whatever breaks an invariant */
  run(): void {
    while (this.turn());
  }

  /** One turn: waits, works, and says whether there is to be another. */
  turn(): boolean {
    const { clock, poller } = this.#ports;
    const before = clock.now();
    const waitMs = this.#waitMs(before);
    const ready = poller.wait(waitMs);
    this.#ports.beat();
    const begin = clock.now();
    this.#noteLag(Math.max(begin - before - waitMs, this.#lastTurnMs), begin);
    this.#hearPeers(ready);
    this.#runTimeouts();
    this.#serve(ready, begin);
    this.#takeMessages();
    this.#announcing.timeout();
    if (ready.length === 0 && this.#trimAt !== undefined && begin >= this.#trimAt) {
      // Nobody asks for anything at this moment, and nothing of the table waits.
      this.#trimAt = undefined;
      this.#ports.trimHeap();
    }
    this.#lastTurnMs = clock.now() - begin;
    this.#counters.turnTook(this.#lastTurnMs);
    if (this.#stopped) this.#closeAll();
    return !this.#stopped;
  }

  #waitMs(now: Instant): number {
    if (this.#slice !== undefined || this.#mayHaveMessages) return 0;
    const deadlines = [this.#announcing.nextTimeout(), this.#elector.nextTimeout(), this.#ports.agreement?.nextTimeout(), this.#ports.neighbours?.nextTimeout(), this.#stopBy];
    const next = Math.min(...deadlines.map((deadline) => deadline ?? Infinity));
    return Math.min(MAX_WAIT_MS, Math.max(0, Math.ceil(next - now)));
  }

  #noteLag(lagMs: number, now: Instant): void {
    if (lagMs < WOKE_AFTER_MS) return;
    this.#counters.dropped("woke");
    this.#elect({ kind: "woke", lagMs });
    const { agreement, clock } = this.#ports;
    do {
      const inputs = agreement?.drain() ?? [];
      if (inputs.length === 0) return;
      for (const input of inputs) this.#elect(input);
    } while (clock.now() - now < CATCH_UP_BUDGET_MS);
  }

  #hearPeers(ready: readonly number[]): void {
    const { agreement, clock } = this.#ports;
    if (agreement === undefined) return;
    for (const fd of ready) if (agreement.owns(fd)) for (const input of agreement.ready(fd, clock.now())) this.#elect(input);
  }

  #runTimeouts(): void {
    const { agreement, neighbours, clock } = this.#ports;
    const now = clock.now();
    if (isDue(agreement?.nextTimeout(), now)) agreement?.timeout(now);
    if (isDue(neighbours?.nextTimeout(), now)) {
      const { frames = [], inputs = [] } = neighbours?.timeout(now) ?? {};
      for (const { interfaceIndex, bytes } of frames) this.#segments.send(interfaceIndex, bytes);
      for (const input of inputs) this.#elect(input);
    }
    if (isDue(this.#elector.nextTimeout(), clock.now())) this.#elect({ kind: "timeout" });
    if (isDue(this.#stopBy, now)) this.#stopped = true;
  }

  /** Interfaces, frames, and the eventfd. Frames are left to the next turn if this process slept during this one. */
  #serve(ready: readonly number[], begin: Instant): void {
    const { wake, interfaces, clock } = this.#ports;
    for (const fd of ready) {
      if (fd === wake.fd) {
        wake.drain();
        this.#mayHaveMessages = true;
      } else if (fd === interfaces.fd) {
        if (interfaces.update()) this.#interfacesChanged();
      } else if (this.#segments.owns(fd) && clock.now() - begin < WOKE_AFTER_MS) {
        this.#segments.receive(fd, (interfaceIndex, bytes) => this.#takeFrame(interfaceIndex, bytes));
      }
    }
  }

  #takeFrame(interfaceIndex: number, bytes: Uint8Array): void {
    const { neighbours } = this.#ports;
    if (neighbours !== undefined) for (const input of neighbours.frame(interfaceIndex, bytes, this.#ports.clock.now())) this.#elect(input);
    this.#announcing.frame(interfaceIndex, bytes);
  }

  /** Takes messages in, for at most TABLE_BUDGET_MS. */
  #takeMessages(): void {
    if (this.#slice === undefined && !this.#mayHaveMessages) return;
    const end = this.#ports.clock.now() + TABLE_BUDGET_MS;
    do {
      if (this.#slice !== undefined) {
        this.#takeRow(this.#slice);
        continue;
      }
      const message = this.#ports.receive();
      if (message === undefined) {
        this.#mayHaveMessages = false;
        return;
      }
      this.#takeMessage(message);
    } while (!this.#stopped && this.#ports.clock.now() < end);
  }

  #takeMessage(message: PacketThreadMessage): void {
    switch (message.kind) {
      case "slice":
        if (message.sequence !== this.#lastSequence + 1) throw new Error(`table slice ${message.sequence} follows ${this.#lastSequence}`);
        this.#lastSequence = message.sequence;
        this.#slice = { slice: message, position: 0 };
        return;
      case "peers":
      case "fresh":
        this.#elect(message);
        return;
      case "collect":
        this.#ports.post(this.#counters.collect());
        return;
      case "stop":
        this.#stopBy = this.#ports.clock.now() + STOP_WITHIN_MS;
        this.#elect({ kind: "stop" });
        return;
    }
  }

  #takeRow(current: { readonly slice: TableSlice; position: number }): void {
    const { upsert, remove, completes } = current.slice;
    const at = current.position;
    current.position += 1;
    const removed = remove[at];
    const row = upsert[at - remove.length];
    if (removed !== undefined) {
      this.#elect({ kind: "removeRow", address: removed });
      this.#counters.forget(removed);
    } else if (row !== undefined) {
      this.#elect({ kind: "row", row });
    }
    if (current.position < remove.length + upsert.length) return;
    this.#slice = undefined;
    this.#ports.sliceTaken();
    if (completes === undefined) return;
    if (!this.#isReady) this.#elect({ kind: "ready" });
    this.#isReady = true;
    this.#trimAt = this.#ports.clock.now() + TRIM_AFTER_MS;
    this.#ports.post({ kind: "tableApplied", version: completes });
  }

  /** Hands an input to the elector, and performs all that follows. */
  #elect(first: AgreementInput): void {
    const inputs = [first];
    // The list grows while it is walked: a connection that is refused at once is an input again.
    for (const input of inputs) {
      if (inputs.length > MAX_FOLLOW_UPS) throw new Error("the sockets and the election go round in circles");
      for (const output of this.#elector.handle(input, this.#ports.clock.now())) inputs.push(...this.#perform(output));
    }
  }

  #perform(output: AgreementOutput): AgreementInput[] {
    const { clock, agreement, neighbours, post } = this.#ports;
    switch (output.kind) {
      case "owned":
      case "blocked":
      case "lost":
        this.#performOwned(output);
        return [];
      case "reannounce":
        this.#announcing.again(output.address);
        return [];
      case "handingOver":
        this.#announcing.handOver(output.address);
        post(output);
        return [];
      case "silence":
      case "speak":
        this.#announcing.setSilent(output.kind === "silence");
        return [];
      case "member": {
        const { node, state, before, isHerald } = output;
        post({ kind: "member", node, state, before, isHerald });
        return [];
      }
      case "settled":
      case "verdict":
        post(output);
        return [];
      case "dropped":
        this.#counters.dropped(output.reason);
        return [];
      case "stopped":
        // The sockets stay open for what else this turn brings.
        this.#stopped = true;
        return [];
      case "ask":
      case "askSegment":
        for (const { interfaceIndex, bytes } of neighbours?.perform(output, clock.now()) ?? []) this.#segments.send(interfaceIndex, bytes);
        return output.kind === "ask" ? (agreement?.perform(output, clock.now()) ?? []) : [];
      case "datagram":
      case "connect":
      case "streamSend":
      case "streamEnd":
      case "streamClose":
        return agreement?.perform(output, clock.now()) ?? [];
    }
  }

  #performOwned(output: OwnedOutput): void {
    const { address } = output;
    switch (output.kind) {
      case "owned": {
        const interfaceIndexes = output.interfaces.map(({ index }) => index);
        if (output.taken) this.#sinceUnixMs.set(address, this.#ports.clock.wallMs());
        this.#announcing.own(address, interfaceIndexes);
        const sinceUnixMs = this.#sinceUnixMs.get(address) ?? this.#ports.clock.wallMs();
        this.#ports.post({ kind: "owned", address, sinceUnixMs, reason: output.reason, interfaces: output.interfaces });
        return;
      }
      case "lost":
        this.#sinceUnixMs.delete(address);
        this.#announcing.disown(address);
        this.#ports.post({ kind: "lost", address, reason: output.reason });
        return;
      case "blocked":
        this.#ports.post({ kind: "blocked", address, wanted: output.wanted });
        return;
    }
  }

  #interfacesChanged(): void {
    // A doubted interface is taken down first even if it is up (again): its socket may be deaf, its neighbours forgetful.
    if (this.#segments.isInDoubt && this.#segments.apply()) this.#tellInterfaces("interfaces");
    this.#segments.settle();
    if (this.#segments.apply()) this.#tellInterfaces("interfaces");
  }

  #tellInterfaces(kind: "started" | "interfaces"): void {
    const interfaces = this.#segments.facts;
    this.#ports.neighbours?.interfaces(interfaces, this.#ports.clock.now());
    this.#ports.post({ kind, interfaces });
    const index = this.#ports.neighbours?.interfaceOf(this.#nodeAddress ?? "");
    this.#elect({ kind: "interfaces", interfaces: interfaces.map((fact) => (fact.index === index ? { ...fact, isNodeInterface: true } : fact)) });
  }

  #closeAll(): void {
    this.#segments.closeAll();
    this.#ports.agreement?.close();
    this.#ports.neighbours?.close();
    this.#ports.post({ kind: "stopped" });
  }
}
