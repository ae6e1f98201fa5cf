/**
 * The streams under way, those that others opened and our own, with their bounds: how many, how long, how many bytes.
 * memberlist sends one message each way over a stream, and whoever has read what it wants closes it.
 */

import type { Instant } from "../machine.ts";
import type { Context } from "./context.ts";
import type { StreamId } from "./membership-protocol.ts";
import type { Endpoint, StreamMessage } from "./message.ts";
import { PacketError } from "./packet-error.ts";
import { encodeStreamMessage, StreamDecoder } from "./stream-codec.ts";

/** Streams that others may have open to us; memberlist allows as many push-pulls. */
export const MAX_ACCEPTED_STREAMS = 128;
/** Streams that we have open to others. */
export const MAX_OPENED_STREAMS = 256;
/** Bytes received in all streams together whose messages are not complete. */
export const MAX_STREAM_BYTES_WAITING = 32 * 1024 * 1024;

/** Why a stream of ours ended: `done` by whoever opened it. */
export type StreamEnd = "ended" | "failed" | "timeout";

export interface OpenOptions {
  readonly to: Endpoint;
  /** Asked once the stream is connected, so that what is sent is fresh. */
  readonly send: () => StreamMessage;
  /** A message came. The stream stays open until it is closed here. */
  readonly received: (message: StreamMessage, stream: StreamId) => void;
  /** The stream is gone, and not because it was closed here. */
  readonly ended: (end: StreamEnd) => void;
  /** Nothing is expected back but the end: our direction is closed behind the message. */
  readonly isOneWay: boolean;
}

export interface Accepted {
  readonly stream: StreamId;
  readonly from: Endpoint;
}

interface Stream {
  readonly id: StreamId;
  readonly decoder: StreamDecoder;
  readonly opened: OpenOptions | undefined;
  readonly from: Endpoint | undefined;
  deadline: Instant;
  bytes: number;
}

export class Streams {
  readonly #context: Context;
  readonly #accepted: (message: StreamMessage, stream: Accepted) => void;
  /** In the order of their deadlines: all have the same time, and the order they began in. */
  readonly #streams = new Map<StreamId, Stream>();
  #openedCount = 0;
  #bytesWaiting = 0;
  #lastId: StreamId = 0;

  /** `accepted` is called with each message on a stream that the other side opened; it answers and closes. */
  constructor(context: Context, accepted: (message: StreamMessage, stream: Accepted) => void) {
    this.#context = context;
    this.#accepted = accepted;
  }

  get size(): number {
    return this.#streams.size;
  }

  nextDeadline(): Instant | undefined {
    for (const { deadline } of this.#streams.values()) return deadline;
    return undefined;
  }

  /** Undefined when there are too many already. */
  open(options: OpenOptions): StreamId | undefined {
    if (this.#openedCount >= MAX_OPENED_STREAMS) {
      this.#context.drop("tooManyStreams");
      return undefined;
    }
    this.#lastId += 2;
    this.#add(this.#lastId, options, undefined);
    this.#context.emit({ kind: "connect", stream: this.#lastId, to: options.to });
    return this.#lastId;
  }

  accept(id: StreamId, from: Endpoint): void {
    if (this.#streams.size - this.#openedCount >= MAX_ACCEPTED_STREAMS) {
      this.#context.drop("tooManyStreams");
      this.#context.emit({ kind: "streamClose", stream: id });
      return;
    }
    this.#add(id, undefined, from);
  }

  connected(id: StreamId): void {
    const opened = this.#streams.get(id)?.opened;
    if (opened === undefined) return;
    this.send(id, opened.send());
    if (opened.isOneWay) this.#context.emit({ kind: "streamEnd", stream: id });
  }

  send(id: StreamId, message: StreamMessage): void {
    const { options, random } = this.#context;
    this.#context.emit({ kind: "streamSend", stream: id, bytes: encodeStreamMessage(message, options.keyring, random) });
  }

  received(id: StreamId, bytes: Uint8Array): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    stream.bytes += bytes.length;
    this.#bytesWaiting += bytes.length;
    if (this.#bytesWaiting > MAX_STREAM_BYTES_WAITING) {
      this.#context.drop("tooLong");
      this.#abandon(stream, "failed");
      return;
    }
    try {
      stream.decoder.push(bytes);
      // Whoever takes the message closes the stream: what follows it is not looked at.
      while (this.#streams.has(id)) {
        const message = stream.decoder.next();
        if (message === undefined) return;
        this.#hand(stream, message);
      }
    } catch (error) {
      if (!(error instanceof PacketError)) throw error;
      this.#context.drop(error.reason);
      this.#abandon(stream, "failed");
    }
  }

  /** The other side will send no more: what is not complete by now never will be. */
  peerEnded(id: StreamId): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    // Who connects and says nothing only wants to know whether somebody listens.
    if (stream.bytes > 0) this.#context.drop("malformed");
    this.#abandon(stream, "ended");
  }

  failed(id: StreamId): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    this.#remove(stream);
    stream.opened?.ended("failed");
  }

  /** Done with it. */
  close(id: StreamId): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    this.#remove(stream);
    this.#context.emit({ kind: "streamClose", stream: id });
  }

  expire(): void {
    for (const stream of this.#streams.values()) {
      if (stream.deadline > this.#context.now) return;
      this.#context.drop("streamTimeout");
      this.#abandon(stream, "timeout");
    }
  }

  /** This process slept: what is under way gets its full time again. */
  restart(): void {
    for (const stream of this.#streams.values()) stream.deadline = this.#context.now + this.#context.timing.tcpTimeoutMs;
  }

  #hand(stream: Stream, message: StreamMessage): void {
    if (stream.opened !== undefined) stream.opened.received(message, stream.id);
    else if (stream.from !== undefined) this.#accepted(message, { stream: stream.id, from: stream.from });
  }

  #add(id: StreamId, opened: OpenOptions | undefined, from: Endpoint | undefined): void {
    const { options, timing, now } = this.#context;
    if (opened !== undefined) this.#openedCount += 1;
    this.#streams.set(id, { id, decoder: new StreamDecoder(options.keyring), opened, from, deadline: now + timing.tcpTimeoutMs, bytes: 0 });
  }

  #abandon(stream: Stream, end: StreamEnd): void {
    this.close(stream.id);
    stream.opened?.ended(end);
  }

  #remove(stream: Stream): void {
    this.#streams.delete(stream.id);
    this.#bytesWaiting -= stream.bytes;
    if (stream.opened !== undefined) this.#openedCount -= 1;
  }
}
