/**
 * The packet thread's one loop: wait, take inputs to the machines, perform their outputs, compute the next wait. It
 * owns the sockets (one for each usable interface); it has no timers, and all it does comes in through `DriverPorts`.
 */

import type { Clock } from "../sys/clock.ts";
import type { EventFd } from "../sys/event-fd.ts";
import type { InterfaceMonitor } from "../sys/interfaces.ts";
import type { PacketSocket } from "../sys/packet-socket.ts";
import type { Poller } from "../sys/poll.ts";
import { SysError } from "../sys/sys-error.ts";
import { parseMacAddress } from "../wire/mac-address.ts";
import { Announcer } from "./layer2/announcer.ts";
import type { AnnouncerInput } from "./layer2/announcer.ts";
import { interfaceFacts, sameInterfaceFacts } from "./layer2/interface-fact.ts";
import { Responder } from "./layer2/responder.ts";
import type { Instant, Random } from "./machine.ts";
import { Ownership } from "./ownership.ts";
import type { OwnershipInput, OwnershipOutput } from "./ownership.ts";
import { PacketCounters } from "./packet-counters.ts";
import type { FromPacketThread, InterfaceFact } from "./packet-protocol.ts";
import type { PacketThreadMessage, TableSlice } from "./table-queue.ts";

/** What the loop works with; a test gives it fakes. */
export interface DriverPorts {
  readonly clock: Pick<Clock, "now" | "wallMs">;
  readonly random: Random;
  readonly poller: Poller;
  readonly interfaces: InterfaceMonitor;
  /** Becomes readable when messages wait. */
  readonly wake: Pick<EventFd, "fd" | "drain">;
  /** @throws SysError */
  openSocket(interfaceIndex: number): PacketSocket;
  /** The next message of the main thread, if one waits. */
  receive(): PacketThreadMessage | undefined;
  post(fact: FromPacketThread): void;
  /** A slice of the table has been taken in: the main thread may send another. */
  sliceTaken(): void;
  /** Called once a turn: a sign of life. */
  beat(): void;
  /** Gives memory back that a burst has left behind. May take milliseconds. */
  trimHeap(): void;
}

export interface DriverOptions {
  /** This node's name, as candidates carry it. */
  readonly node: string;
  /** Interfaces never to announce on. */
  readonly exclude: readonly RegExp[];
}

/** Longest wait: a thread that shows no sign of life for much longer is stuck. */
export const MAX_WAIT_MS = 500;
/** Time per turn for the table; what is left waits for the next turn, behind the packets. */
export const TABLE_BUDGET_MS = 1;
/** Frames read from one socket per turn, so that a flood on one interface leaves the others their turn. */
export const MAX_FRAMES_PER_SOCKET = 64;
/** How long after the last change of the table the burst is taken to be over, and its memory is given back. */
export const TRIM_AFTER_MS = 10_000;
/** Bytes kept of a frame: an ARP packet has 42. */
const FRAME_BYTES = 2048;

/** Errors that say "the interface has gone or is down": netlink tells the rest. */
const INTERFACE_GONE: readonly string[] = ["ENETDOWN", "ENXIO", "ENODEV"];
/** Errors that say "not now". */
const QUEUE_FULL: readonly string[] = ["ENOBUFS", "EAGAIN"];
/** Errors that no peer and no network can cause: a mistake of ours, which must not go on. */
const OUR_MISTAKE: readonly string[] = ["EBADF", "ENOTSOCK", "EFAULT"];

export class Driver {
  readonly #ports: DriverPorts;
  readonly #exclude: readonly RegExp[];
  readonly #ownership: Ownership;
  readonly #responder = new Responder();
  readonly #announcer: Announcer;
  readonly #counters = new PacketCounters();
  readonly #sockets = new Map<number, PacketSocket>();
  readonly #indexByFd = new Map<number, number>();
  /** Interfaces whose socket says that the device went, though netlink has not said so. */
  readonly #doubted = new Set<number>();
  readonly #sinceUnixMs = new Map<string, number>();
  readonly #buffer = new Uint8Array(FRAME_BYTES);
  #facts: readonly InterfaceFact[] = [];
  /** The slice that is being taken in, and how far. */
  #slice: { readonly slice: TableSlice; position: number } | undefined;
  #lastSequence = 0;
  /** Messages may wait: those sent before the main thread knew the eventfd woke nobody. */
  #mayHaveMessages = true;
  #warnedOfIpv6 = false;
  /** Error codes that a warning was given for: as many as the OS has. */
  readonly #warnedOf = new Set<string>();
  /** When to give memory back; undefined when nothing has come since the last time. */
  #trimAt: Instant | undefined;
  #stopped = false;

  constructor(options: DriverOptions, ports: DriverPorts) {
    this.#ports = ports;
    this.#exclude = options.exclude;
    this.#ownership = new Ownership(options.node);
    this.#announcer = new Announcer(ports.random);
    ports.poller.add(ports.wake.fd);
    ports.poller.add(ports.interfaces.fd);
    this.#applyInterfaces(ports.clock.now(), "started");
  }

  /** Turns until told to stop. @throws SysError for what no retry mends, and whatever breaks an invariant */
  run(): void {
    while (this.turn());
  }

  /** One turn: waits, works, and says whether there is to be another. */
  turn(): boolean {
    const { clock, poller, wake, interfaces } = this.#ports;
    const ready = poller.wait(this.#waitMs(clock.now()));
    this.#ports.beat();
    const begin = clock.now();
    for (const fd of ready) {
      if (fd === wake.fd) {
        wake.drain();
        this.#mayHaveMessages = true;
      } else if (fd === interfaces.fd) {
        if (interfaces.update()) this.#interfacesChanged(clock.now());
      } else {
        this.#receiveFrames(fd);
      }
    }
    this.#takeMessages();
    this.#announce({ kind: "timeout" });
    if (ready.length === 0 && this.#trimAt !== undefined && begin >= this.#trimAt) {
      // Nobody asks for anything at this moment, and nothing of the table waits.
      this.#trimAt = undefined;
      this.#ports.trimHeap();
    }
    this.#counters.turnTook(clock.now() - begin);
    return !this.#stopped;
  }

  #waitMs(now: Instant): number {
    if (this.#slice !== undefined || this.#mayHaveMessages) return 0;
    const next = this.#announcer.nextTimeout();
    return next === undefined ? MAX_WAIT_MS : Math.min(MAX_WAIT_MS, Math.max(0, Math.ceil(next - now)));
  }

  #receiveFrames(fd: number): void {
    const interfaceIndex = this.#indexByFd.get(fd);
    const socket = interfaceIndex === undefined ? undefined : this.#sockets.get(interfaceIndex);
    // The socket was closed earlier in this turn.
    if (interfaceIndex === undefined || socket === undefined) return;
    for (let count = 0; count < MAX_FRAMES_PER_SOCKET; count++) {
      let length: number | undefined;
      try {
        length = socket.receive(this.#buffer);
      } catch (error) {
        this.#networkError(error, "receive");
        if (isInterfaceGone(error)) this.#doubt(interfaceIndex);
        return;
      }
      if (length === undefined) return;
      this.#respond(interfaceIndex, this.#buffer.subarray(0, length));
    }
  }

  #respond(interfaceIndex: number, bytes: Uint8Array): void {
    for (const output of this.#responder.handle({ kind: "frame", interfaceIndex, bytes }, 0)) {
      if (output.address !== undefined) this.#counters.requestReceived(output.address);
      if (output.kind === "dropped") {
        this.#counters.dropped(output.reason);
      } else {
        if (this.#send(output.interfaceIndex, output.bytes)) this.#counters.responseSent(output.address);
        this.#announce({ kind: "asked", address: output.address });
      }
    }
  }

  #send(interfaceIndex: number, bytes: Uint8Array): boolean {
    try {
      const socket = this.#sockets.get(interfaceIndex);
      if (socket === undefined) return false;
      socket.send(bytes);
      return true;
    } catch (error) {
      this.#networkError(error, "send");
      return false;
    }
  }

  /** Counts what the network did to a packet, and warns once of what is unusual. @throws whatever is no fault of the network */
  #networkError(error: unknown, direction: "send" | "receive"): void {
    if (!(error instanceof SysError) || OUR_MISTAKE.includes(error.code)) throw error;
    if (isInterfaceGone(error)) {
      this.#counters.dropped(`${direction}InterfaceDown`);
    } else if (QUEUE_FULL.includes(error.code)) {
      this.#counters.dropped(`${direction}QueueFull`);
    } else {
      this.#counters.dropped(`${direction}Failed`);
      if (this.#warnedOf.has(error.code)) return;
      this.#warnedOf.add(error.code);
      this.#ports.post({ kind: "warning", event: `${direction}Failed`, fields: { code: error.code, syscall: error.syscall } });
    }
  }

  #announce(input: AnnouncerInput): void {
    for (const output of this.#announcer.handle(input, this.#ports.clock.now())) {
      if (output.kind === "dropped") this.#counters.dropped(output.reason);
      else if (this.#send(output.interfaceIndex, output.bytes)) this.#counters.gratuitousSent(output.address);
    }
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
      case "collect":
        this.#ports.post(this.#counters.collect());
        return;
      case "stop":
        this.#stop();
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
      this.#own({ kind: "removeRow", address: removed });
      this.#counters.forget(removed);
    } else if (row !== undefined) {
      this.#own({ kind: "row", row });
    }
    if (current.position < remove.length + upsert.length) return;
    this.#slice = undefined;
    this.#ports.sliceTaken();
    if (completes === undefined) return;
    this.#trimAt = this.#ports.clock.now() + TRIM_AFTER_MS;
    this.#ports.post({ kind: "tableApplied", version: completes });
  }

  #own(input: OwnershipInput): void {
    for (const output of this.#ownership.handle(input, this.#ports.clock.now())) this.#performOwnership(output);
  }

  #performOwnership(output: OwnershipOutput): void {
    const { address } = output;
    const isIpv4 = !address.includes(":");
    switch (output.kind) {
      case "owned": {
        const interfaceIndexes = output.interfaces.map(({ index }) => index);
        if (output.taken) this.#sinceUnixMs.set(address, this.#ports.clock.wallMs());
        if (isIpv4) {
          this.#counters.watch(address);
          this.#responder.handle({ kind: "own", address, interfaceIndexes }, 0);
          this.#announce({ kind: "gained", address, interfaceIndexes });
        } else {
          this.#warnOfIpv6(address);
        }
        const sinceUnixMs = this.#sinceUnixMs.get(address) ?? this.#ports.clock.wallMs();
        this.#ports.post({ kind: "owned", address, sinceUnixMs, reason: output.reason, interfaces: output.interfaces });
        return;
      }
      case "lost":
        this.#sinceUnixMs.delete(address);
        if (isIpv4) {
          this.#responder.handle({ kind: "disown", address }, 0);
          this.#announce({ kind: "lost", address });
        }
        this.#ports.post({ kind: "lost", address, reason: output.reason });
        return;
      case "blocked":
        this.#ports.post({ kind: "blocked", address, wanted: output.wanted });
        return;
    }
  }

  /** NDP is not there yet: an IPv6 address is owned in name only. */
  #warnOfIpv6(address: string): void {
    this.#counters.dropped("ipv6NotAnnounced");
    if (this.#warnedOfIpv6) return;
    this.#warnedOfIpv6 = true;
    this.#ports.post({ kind: "warning", event: "ipv6NotAnnounced", fields: { address } });
  }

  /** Events may have been lost in which the device went and another came under its index: asks netlink how it is now. */
  #doubt(interfaceIndex: number): void {
    this.#doubted.add(interfaceIndex);
    this.#ports.interfaces.refresh();
  }

  #interfacesChanged(now: Instant): void {
    // A doubted interface is taken down first even if it is up (again): its socket may be deaf, its neighbours forgetful.
    if (this.#doubted.size > 0) this.#applyInterfaces(now, "interfaces");
    this.#doubted.clear();
    this.#applyInterfaces(now, "interfaces");
  }

  #applyInterfaces(now: Instant, fact: "started" | "interfaces"): void {
    const links = this.#ports.interfaces.links().map((link) => (this.#doubted.has(link.index) ? { ...link, up: false } : link));
    const facts = interfaceFacts(links, this.#exclude).map((fact) => (fact.usable ? this.#raise(fact, now) : fact));
    const usable = new Set(facts.filter((fact) => fact.usable).map((fact) => fact.index));
    for (const index of this.#sockets.keys()) if (!usable.has(index)) this.#lower(index, now);
    if (fact === "interfaces" && sameInterfaceFacts(this.#facts, facts)) return;
    this.#facts = facts;
    this.#ports.post({ kind: fact, interfaces: facts });
    this.#own({ kind: "interfaces", interfaces: facts });
  }

  /** Opens the interface's socket where it has none, and tells the machines its MAC. */
  #raise(fact: InterfaceFact, now: Instant): InterfaceFact {
    const interfaceIndex = fact.index;
    if (!this.#sockets.has(interfaceIndex)) {
      try {
        const socket = this.#ports.openSocket(interfaceIndex);
        this.#sockets.set(interfaceIndex, socket);
        this.#indexByFd.set(socket.fd, interfaceIndex);
        this.#ports.poller.add(socket.fd);
      } catch (error) {
        if (!isInterfaceGone(error)) throw error;
        // It went between the kernel's telling and our binding; the event that says so is on its way.
        return { ...fact, usable: false, reason: "down" };
      }
    } else if (this.#facts.some((known) => known.index === interfaceIndex && known.usable && known.mac === fact.mac)) {
      return fact;
    }
    const mac = parseMacAddress(fact.mac);
    this.#responder.handle({ kind: "interfaceUp", interfaceIndex, mac }, now);
    this.#announce({ kind: "interfaceUp", interfaceIndex, mac });
    return fact;
  }

  #lower(interfaceIndex: number, now: Instant): void {
    const socket = this.#sockets.get(interfaceIndex);
    if (socket === undefined) return;
    this.#sockets.delete(interfaceIndex);
    this.#indexByFd.delete(socket.fd);
    this.#ports.poller.remove(socket.fd);
    socket.close();
    this.#responder.handle({ kind: "interfaceDown", interfaceIndex }, now);
    this.#announce({ kind: "interfaceDown", interfaceIndex });
  }

  #stop(): void {
    this.#own({ kind: "release" });
    for (const index of this.#sockets.keys()) this.#lower(index, this.#ports.clock.now());
    this.#stopped = true;
    this.#ports.post({ kind: "stopped" });
  }
}

function isInterfaceGone(error: unknown): boolean {
  return error instanceof SysError && INTERFACE_GONE.includes(error.code);
}
