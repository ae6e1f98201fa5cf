/**
 * The TCP streams of the membership protocol: accepts, connects, keeps what the kernel has no room for, and tells what
 * comes in. Streams that this side opens are numbered by the machine (even), those accepted here (odd).
 *
 * States of a stream: connecting -> open -> each direction ends by itself -> gone. One that the machine has closed stays
 * until what was sent is out, or `CLOSE_WITHIN_MS` passed; nothing of it is told any more.
 */

import type { Poller } from "../sys/poll.ts";
import type { IpEndpoint } from "../sys/socket-address.ts";
import { SysError } from "../sys/sys-error.ts";
import type { AcceptedTcpStream, TcpListener, TcpStream } from "../sys/tcp-socket.ts";
import type { AgreementInput } from "./agreement/agreement-protocol.ts";
import type { Instant } from "./machine.ts";
import type { NetworkFailures } from "./network-failures.ts";

export interface AgreementStreamsPorts {
  readonly poller: Pick<Poller, "add" | "remove" | "setInterest">;
  readonly failures: NetworkFailures;
  dropped(reason: string): void;
  /** @throws SysError */
  listenTcp(at: IpEndpoint & { readonly backlog: number }): TcpListener;
  /** @throws SysError */
  connectTcp(to: IpEndpoint): TcpStream;
}

/** Streams that peers opened; a further one is reset. */
export const MAX_ACCEPTED_STREAMS = 192;
/** The same of one peer's address, so that one that opens without end leaves room for the others; peers have few at a time. */
export const MAX_ACCEPTED_STREAMS_PER_PEER = 32;
/** Streams that this side opened; a further one fails as `tooManyStreams`. As many as membership opens, and some that are still closing. */
export const MAX_OPENED_STREAMS = 320;
/** Bytes of one stream that wait for room: the largest push-pull and the largest list of claims fit several times. */
export const MAX_WAITING_BYTES_PER_STREAM = 1024 * 1024;
/** The same of all streams together. */
export const MAX_WAITING_BYTES = 16 * 1024 * 1024;
/** Bytes read from one stream per turn, so that all streams together leave ARP its turn. */
export const MAX_BYTES_PER_STREAM_PER_TURN = 16 * 1024;
/** Connections accepted per turn. */
export const MAX_ACCEPTS_PER_TURN = 32;
/** Connections that may wait to be accepted. */
export const BACKLOG = 512;
/** How long what was sent may take to get out after the machine closed the stream. */
export const CLOSE_WITHIN_MS = 5_000;
/** How long no connection is accepted after the system had no descriptor or memory for one: it stays readable meanwhile. */
export const ACCEPT_PAUSE_MS = 100;

/** The OS's codes in words. */
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connectionRefused",
  ECONNRESET: "connectionReset",
  ECONNABORTED: "connectionAborted",
  ETIMEDOUT: "timedOut",
  EPIPE: "brokenPipe",
  EHOSTUNREACH: "hostUnreachable",
  ENETUNREACH: "networkUnreachable",
  ENETDOWN: "networkDown",
  EADDRNOTAVAIL: "addressNotAvailable",
  EINVAL: "invalidArgument",
  EACCES: "permissionDenied",
  EPERM: "notPermitted",
  EMFILE: "tooManyFiles",
  ENFILE: "tooManyFiles",
  ENOBUFS: "noBufferSpace",
};

interface Entry {
  readonly id: number;
  readonly stream: TcpStream;
  /** Address of the peer that opened it; undefined when this side did. */
  readonly peer: string | undefined;
  connecting: boolean;
  readonly waiting: Uint8Array[];
  waitingBytes: number;
  /** The machine sends nothing more. */
  ending: boolean;
  /** The peer was told so. */
  ended: boolean;
  /** The peer sends nothing more. */
  peerEnded: boolean;
  /** The machine has closed it: when it is given up. */
  closeBy: Instant | undefined;
}

export class AgreementStreams {
  readonly #ports: AgreementStreamsPorts;
  readonly #listener: TcpListener;
  readonly #byId = new Map<number, Entry>();
  readonly #byFd = new Map<number, Entry>();
  /** Streams that the machine has closed and that are not out yet, the oldest first. */
  readonly #closing = new Set<Entry>();
  readonly #buffer = new Uint8Array(MAX_BYTES_PER_STREAM_PER_TURN);
  #accepted = 0;
  /** Accepted streams by the peer's address. */
  readonly #acceptedOf = new Map<string, number>();
  #waitingBytes = 0;
  #nextId = 1;
  #acceptAgainAt: Instant | undefined;

  /** @throws SysError EADDRINUSE, EADDRNOTAVAIL */
  constructor(endpoint: IpEndpoint, ports: AgreementStreamsPorts) {
    this.#ports = ports;
    this.#listener = ports.listenTcp({ ...endpoint, backlog: BACKLOG });
    ports.poller.add(this.#listener.fd);
  }

  /** Streams that are there, those that are being closed included. */
  get size(): number {
    return this.#byFd.size;
  }

  owns(fd: number): boolean {
    return fd === this.#listener.fd || this.#byFd.has(fd);
  }

  /** Takes in what one of its descriptors has. */
  ready(fd: number, now: Instant): AgreementInput[] {
    if (fd === this.#listener.fd) return this.#accept(now);
    const entry = this.#byFd.get(fd);
    if (entry === undefined) return [];
    const inputs: AgreementInput[] = [];
    try {
      // Nothing is read after the peer's end, so that only this look finds a reset.
      if (entry.connecting || entry.peerEnded) {
        if (entry.stream.connected() === "pending") return [];
        if (entry.connecting) inputs.push({ kind: "streamConnected", stream: entry.id });
        entry.connecting = false;
      }
      this.#flush(entry);
      if (entry.closeBy === undefined && !entry.peerEnded) this.#read(entry, inputs);
      this.#settle(entry);
    } catch (error) {
      inputs.push(...this.#failed(entry, error));
    }
    // Of a stream that the machine has closed nothing is told.
    return entry.closeBy === undefined ? inputs : [];
  }

  connect(id: number, to: IpEndpoint): AgreementInput[] {
    if (this.#byFd.size - this.#accepted >= MAX_OPENED_STREAMS) {
      this.#ports.dropped("tooManyStreams");
      return [{ kind: "streamFailed", stream: id, reason: "tooManyStreams" }];
    }
    let stream: TcpStream;
    try {
      stream = this.#ports.connectTcp(to);
    } catch (error) {
      return [{ kind: "streamFailed", stream: id, reason: reasonOf(this.#ports.failures.record(error, "streamConnect")) }];
    }
    this.#add({ id, stream, peer: undefined });
    return [];
  }

  /** Sends, at once as far as there is room. Bytes of a stream that has gone are passed over: the machine was told, or closed it. */
  send(id: number, bytes: Uint8Array): AgreementInput[] {
    const entry = this.#byId.get(id);
    if (entry === undefined || entry.ending || bytes.length === 0) return [];
    entry.waiting.push(bytes);
    this.#addWaiting(entry, bytes.length);
    return this.#work(entry, () => {
      if (!entry.connecting) this.#flush(entry);
      if (entry.waitingBytes > MAX_WAITING_BYTES_PER_STREAM || this.#waitingBytes > MAX_WAITING_BYTES) {
        throw new SysError({ code: "ENOBUFS", syscall: "send" });
      }
    });
  }

  /** Tells the peer that nothing more comes, once what was sent is out. */
  end(id: number): AgreementInput[] {
    const entry = this.#byId.get(id);
    if (entry === undefined || entry.ending) return [];
    entry.ending = true;
    return this.#work(entry, () => this.#flush(entry));
  }

  /** Ends the stream both ways, once what was sent is out. */
  close(id: number, now: Instant): void {
    const entry = this.#byId.get(id);
    if (entry === undefined) return;
    this.#byId.delete(id);
    entry.closeBy = now + CLOSE_WITHIN_MS;
    this.#closing.add(entry);
    this.#work(entry, () => this.#flush(entry));
  }

  /** Gives up what takes too long to get out, and accepts again after a pause. */
  timeout(now: Instant): void {
    for (const entry of this.#closing) {
      if (entry.closeBy === undefined || entry.closeBy > now) break;
      this.#ports.dropped("streamCloseTimeout");
      this.#remove(entry, "abort");
    }
    if (this.#acceptAgainAt === undefined || this.#acceptAgainAt > now) return;
    this.#acceptAgainAt = undefined;
    this.#ports.poller.add(this.#listener.fd);
  }

  nextTimeout(): Instant | undefined {
    const [oldest] = this.#closing;
    if (oldest?.closeBy === undefined || this.#acceptAgainAt === undefined) return oldest?.closeBy ?? this.#acceptAgainAt;
    return Math.min(oldest.closeBy, this.#acceptAgainAt);
  }

  closeAll(): void {
    for (const entry of this.#byFd.values()) this.#remove(entry, "close");
    this.#ports.poller.remove(this.#listener.fd);
    this.#listener.close();
  }

  #accept(now: Instant): AgreementInput[] {
    const inputs: AgreementInput[] = [];
    for (let count = 0; count < MAX_ACCEPTS_PER_TURN; count++) {
      let stream: AcceptedTcpStream | undefined;
      try {
        stream = this.#listener.accept();
      } catch (error) {
        this.#ports.failures.record(error, "streamAccept");
        this.#ports.poller.remove(this.#listener.fd);
        this.#acceptAgainAt = now + ACCEPT_PAUSE_MS;
        break;
      }
      if (stream === undefined) break;
      const { address, port } = stream.peer;
      if (this.#accepted >= MAX_ACCEPTED_STREAMS || (this.#acceptedOf.get(address) ?? 0) >= MAX_ACCEPTED_STREAMS_PER_PEER) {
        this.#ports.dropped("tooManyStreams");
        stream.abort();
        continue;
      }
      const id = this.#nextId;
      this.#nextId += 2;
      this.#add({ id, stream, peer: address });
      inputs.push({ kind: "streamAccepted", stream: id, from: { address, port } });
    }
    return inputs;
  }

  #add({ id, stream, peer }: Pick<Entry, "id" | "stream" | "peer">): void {
    const isAccepted = peer !== undefined;
    const entry: Entry = { id, stream, peer, connecting: !isAccepted, waiting: [], waitingBytes: 0, ending: false, ended: false, peerEnded: false, closeBy: undefined };
    this.#countAccepted(entry, 1);
    this.#byId.set(id, entry);
    this.#byFd.set(stream.fd, entry);
    this.#ports.poller.add(stream.fd, { readable: true, writable: !isAccepted });
  }

  /** Runs something on a stream. What goes wrong is told, unless the machine has closed it. */
  #work(entry: Entry, action: () => void): AgreementInput[] {
    try {
      action();
      this.#settle(entry);
      return [];
    } catch (error) {
      return this.#failed(entry, error);
    }
  }

  #flush(entry: Entry): void {
    if (entry.connecting) return;
    for (let first = entry.waiting[0]; first !== undefined; first = entry.waiting[0]) {
      const taken = entry.stream.send(first);
      this.#addWaiting(entry, -taken);
      if (taken < first.length) {
        entry.waiting[0] = first.subarray(taken);
        return;
      }
      entry.waiting.shift();
    }
    if (!entry.ending || entry.ended) return;
    entry.ended = true;
    entry.stream.endWriting();
  }

  #read(entry: Entry, inputs: AgreementInput[]): void {
    const length = entry.stream.receive(this.#buffer);
    if (length === undefined) return;
    entry.peerEnded = length === 0;
    inputs.push(length === 0 ? { kind: "streamEnded", stream: entry.id } : { kind: "streamBytes", stream: entry.id, bytes: this.#buffer.slice(0, length) });
  }

  /** Lets go of what is over, and waits for what is left. */
  #settle(entry: Entry): void {
    const isOut = !entry.connecting && entry.waiting.length === 0;
    // A stream over both ways would end every wait with its hang-up.
    if ((entry.closeBy !== undefined && entry.waiting.length === 0) || (entry.ended && entry.peerEnded)) {
      this.#remove(entry, "close");
      return;
    }
    this.#ports.poller.setInterest(entry.stream.fd, { readable: entry.closeBy === undefined && !entry.peerEnded, writable: !isOut });
  }

  #failed(entry: Entry, error: unknown): AgreementInput[] {
    const reason = reasonOf(this.#ports.failures.record(error, "stream"));
    this.#remove(entry, "abort");
    return entry.closeBy === undefined ? [{ kind: "streamFailed", stream: entry.id, reason }] : [];
  }

  #countAccepted({ peer }: Entry, change: 1 | -1): void {
    if (peer === undefined) return;
    this.#accepted += change;
    const count = (this.#acceptedOf.get(peer) ?? 0) + change;
    if (count === 0) this.#acceptedOf.delete(peer);
    else this.#acceptedOf.set(peer, count);
  }

  #addWaiting(entry: Entry, bytes: number): void {
    entry.waitingBytes += bytes;
    this.#waitingBytes += bytes;
  }

  #remove(entry: Entry, how: "close" | "abort"): void {
    const { stream } = entry;
    if (!this.#byFd.delete(stream.fd)) return;
    if (this.#byId.get(entry.id) === entry) this.#byId.delete(entry.id);
    this.#closing.delete(entry);
    this.#countAccepted(entry, -1);
    this.#addWaiting(entry, -entry.waitingBytes);
    this.#ports.poller.remove(stream.fd);
    stream[how]();
  }
}

function reasonOf({ code }: SysError): string {
  return REASONS[code] ?? code.toLowerCase();
}
