/**
 * The simulated TCP: streams between the hosts of a segment. Bytes come in order or not at all; what the links lose is
 * sent again after a timeout that doubles, and after the last attempt the stream fails.
 *
 * Each stream has two sides, each with its host's own number for it. A side sends one flight at a time, with all that
 * waits in it. Nothing here depends on what the bytes mean.
 */

import type { AgreementInput } from "../../speaker/agreement/agreement-protocol.ts";
import type { Random } from "../../speaker/machine.ts";
import type { StreamId } from "../../speaker/membership/membership-protocol.ts";
import type { Endpoint } from "../../speaker/membership/message.ts";
import type { HostId, Links } from "./links.ts";

/** First timeout of a connection attempt; doubles. */
const CONNECT_RETRY_MS = 1000;
const CONNECT_ATTEMPTS = 5;
/** First timeout of a flight of bytes; doubles up to the maximum. */
const SEND_RETRY_MS = 200;
const MAX_SEND_RETRY_MS = 5000;
const SEND_ATTEMPTS = 8;
/** Part of the flights that arrive in two pieces. */
const SPLIT_PROBABILITY = 0.3;
/** Source ports from here on. */
const FIRST_PORT = 32_768;

type Chunk = Uint8Array | "end";

interface Side {
  readonly host: HostId;
  /** The host's number for the stream; undefined once it has closed it. */
  id: StreamId | undefined;
  readonly queue: Chunk[];
  isSending: boolean;
  attempts: number;
  hasEnded: boolean;
}

interface Stream {
  readonly opener: Side;
  readonly acceptor: Side;
  /** Where the opener's packets come from. */
  readonly source: Endpoint;
  state: "connecting" | "open" | "gone";
  attempts: number;
}

/** What is to happen at a time: put into the network's heap by `later`. */
export type StreamFlight =
  | { readonly kind: "syn"; readonly stream: Stream }
  | { readonly kind: "connect"; readonly stream: Stream }
  | { readonly kind: "flight"; readonly stream: Stream; readonly from: Side; readonly chunks: readonly Chunk[] }
  | { readonly kind: "pump"; readonly stream: Stream; readonly from: Side }
  | { readonly kind: "tell"; readonly side: Side; readonly input: AgreementInput };

/** What the streams need of the network that they are part of. */
export interface StreamPorts {
  readonly links: Links;
  readonly random: Random;
  hostOf(address: string): HostId | undefined;
  addressOf(host: HostId): string;
  kernel(host: HostId): "on" | "frozen" | "off";
  isListening(host: HostId): boolean;
  later(delayMs: number, flight: StreamFlight): void;
  deliver(host: HostId, input: AgreementInput): void;
}

export class Streams {
  readonly #ports: StreamPorts;
  readonly #byHost = new Map<HostId, Map<StreamId, { readonly stream: Stream; readonly side: Side }>>();
  readonly #nextAccepted = new Map<HostId, StreamId>();
  #nextPort = FIRST_PORT;

  constructor(ports: StreamPorts) {
    this.#ports = ports;
  }

  connect({ from, id, to }: { from: HostId; id: StreamId; to: Endpoint }): void {
    const host = this.#ports.hostOf(to.address) ?? from;
    const side = (at: HostId, streamId: StreamId | undefined): Side => ({ host: at, id: streamId, queue: [], isSending: false, attempts: 0, hasEnded: false });
    const source = { address: this.#ports.addressOf(from), port: this.#nextPort++ };
    const stream: Stream = { opener: side(from, id), acceptor: side(host, undefined), source, state: "connecting", attempts: 0 };
    this.#register(stream, stream.opener);
    this.#tryConnect(stream);
  }

  send(from: HostId, id: StreamId, bytes: Uint8Array): void {
    const found = this.#find(from, id);
    // The machine may not know yet that the stream failed.
    if (found === undefined || found.side.hasEnded) return;
    found.side.queue.push(bytes);
    this.#pump(found.stream, found.side);
  }

  end(from: HostId, id: StreamId): void {
    const found = this.#find(from, id);
    if (found === undefined || found.side.hasEnded) return;
    found.side.hasEnded = true;
    found.side.queue.push("end");
    this.#pump(found.stream, found.side);
  }

  close(from: HostId, id: StreamId): void {
    this.end(from, id);
    const found = this.#find(from, id);
    if (found === undefined) return;
    this.#byHost.get(from)?.delete(id);
    found.side.id = undefined;
  }

  /** The process ended: its kernel resets all that it had open. A host that lost power tells nobody. */
  drop(host: HostId, isTold: boolean): void {
    const sides = [...(this.#byHost.get(host)?.values() ?? [])];
    this.#byHost.delete(host);
    for (const { stream, side } of sides) {
      side.id = undefined;
      side.queue.length = 0;
      side.hasEnded = true;
      if (isTold && stream.state === "open") this.#reset(stream, side);
    }
  }

  handle(flight: StreamFlight): void {
    switch (flight.kind) {
      case "connect":
        return this.#tryConnect(flight.stream);
      case "syn":
        return this.#synArrived(flight.stream);
      case "pump":
        flight.from.isSending = false;
        return this.#pump(flight.stream, flight.from);
      case "flight":
        return this.#arrived(flight.stream, flight.from, flight.chunks);
      case "tell":
        return this.#tell(flight.side, flight.input);
    }
  }

  #tryConnect(stream: Stream): void {
    const { opener, acceptor } = stream;
    if (opener.id === undefined || stream.state !== "connecting") return;
    if (stream.attempts >= CONNECT_ATTEMPTS) {
      this.#fail(stream, opener, "timedOut");
      return;
    }
    const transit = this.#ports.links.transit(opener.host, acceptor.host);
    this.#ports.later(CONNECT_RETRY_MS * 2 ** stream.attempts, { kind: "connect", stream });
    stream.attempts += 1;
    if (transit !== undefined) this.#ports.later(transit, { kind: "syn", stream });
  }

  #synArrived(stream: Stream): void {
    const { opener, acceptor } = stream;
    if (stream.state !== "connecting" || opener.id === undefined || this.#ports.kernel(acceptor.host) !== "on") return;
    const back = this.#ports.links.transit(acceptor.host, opener.host);
    if (back === undefined) return;
    if (!this.#ports.isListening(acceptor.host)) {
      stream.state = "gone";
      this.#ports.later(back, { kind: "tell", side: opener, input: { kind: "streamFailed", stream: opener.id, reason: "connectionRefused" } });
      return;
    }
    stream.state = "open";
    const id = this.#nextAccepted.get(acceptor.host) ?? 1;
    this.#nextAccepted.set(acceptor.host, id + 2);
    acceptor.id = id;
    this.#register(stream, acceptor);
    this.#ports.deliver(acceptor.host, { kind: "streamAccepted", stream: id, from: stream.source });
    this.#ports.later(back, { kind: "tell", side: opener, input: { kind: "streamConnected", stream: opener.id } });
    this.#pump(stream, opener);
  }

  #pump(stream: Stream, from: Side): void {
    if (from.isSending || from.queue.length === 0 || stream.state !== "open") return;
    const to = from === stream.opener ? stream.acceptor : stream.opener;
    if (from.attempts >= SEND_ATTEMPTS) {
      this.#fail(stream, from, "timedOut");
      return;
    }
    from.isSending = true;
    from.attempts += 1;
    const transit = this.#ports.links.transit(from.host, to.host);
    if (transit === undefined) this.#retry(stream, from);
    else this.#ports.later(transit, { kind: "flight", stream, from, chunks: from.queue.splice(0) });
  }

  #retry(stream: Stream, from: Side): void {
    this.#ports.later(Math.min(MAX_SEND_RETRY_MS, SEND_RETRY_MS * 2 ** (from.attempts - 1)), { kind: "pump", stream, from });
  }

  #arrived(stream: Stream, from: Side, chunks: readonly Chunk[]): void {
    if (stream.state !== "open") return;
    const to = from === stream.opener ? stream.acceptor : stream.opener;
    if (this.#ports.kernel(to.host) !== "on") {
      from.queue.unshift(...chunks);
      this.#retry(stream, from);
      return;
    }
    from.isSending = false;
    from.attempts = 0;
    if (to.id === undefined) {
      // It has closed or forgotten the stream: whatever comes now is answered by a reset.
      if (chunks.some((chunk) => chunk !== "end")) this.#reset(stream, to);
      return;
    }
    for (const chunk of chunks) this.#deliverChunk(to, chunk);
    this.#pump(stream, from);
  }

  #deliverChunk(to: Side, chunk: Chunk): void {
    const { id, host } = to;
    if (id === undefined) return;
    if (chunk === "end") {
      this.#ports.deliver(host, { kind: "streamEnded", stream: id });
    } else if (chunk.length > 1 && this.#ports.random.next() < SPLIT_PROBABILITY) {
      const at = 1 + Math.floor(this.#ports.random.next() * (chunk.length - 1));
      this.#ports.deliver(host, { kind: "streamBytes", stream: id, bytes: chunk.subarray(0, at) });
      this.#ports.deliver(host, { kind: "streamBytes", stream: id, bytes: chunk.subarray(at) });
    } else {
      this.#ports.deliver(host, { kind: "streamBytes", stream: id, bytes: chunk });
    }
  }

  /** `by` tells the other side that the stream is no more. */
  #reset(stream: Stream, by: Side): void {
    const other = by === stream.opener ? stream.acceptor : stream.opener;
    const transit = this.#ports.links.transit(by.host, other.host);
    if (transit === undefined || other.id === undefined) return;
    stream.state = "gone";
    this.#ports.later(transit, { kind: "tell", side: other, input: { kind: "streamFailed", stream: other.id, reason: "connectionReset" } });
  }

  #fail(stream: Stream, side: Side, reason: string): void {
    stream.state = "gone";
    if (side.id !== undefined) this.#tell(side, { kind: "streamFailed", stream: side.id, reason });
  }

  #tell(side: Side, input: AgreementInput): void {
    const { id, host } = side;
    if (id === undefined || this.#ports.kernel(host) === "off") return;
    if (input.kind === "streamFailed") {
      side.id = undefined;
      this.#byHost.get(host)?.delete(id);
    }
    this.#ports.deliver(host, input);
  }

  #register(stream: Stream, side: Side): void {
    if (side.id === undefined) return;
    const streams = this.#byHost.get(side.host) ?? new Map<StreamId, { readonly stream: Stream; readonly side: Side }>();
    streams.set(side.id, { stream, side });
    this.#byHost.set(side.host, streams);
  }

  #find(host: HostId, id: StreamId): { readonly stream: Stream; readonly side: Side } | undefined {
    return this.#byHost.get(host)?.get(id);
  }
}
