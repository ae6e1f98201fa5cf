/**
 * The main thread's side of the packet thread: starts it, feeds it the table, hears its facts, watches its sign of life.
 */

import { MessageChannel, receiveMessageOnPort, Worker } from "node:worker_threads";
import type { MessagePort } from "node:worker_threads";

import { systemClock } from "../sys/clock.ts";
import { Heartbeat } from "../sys/heartbeat.ts";
import { closeWakeFd, wake } from "../sys/wake.ts";
import type { FromPacketThread, MembershipSettings, ToPacketThread } from "./packet-protocol.ts";
import { TableQueue } from "./table-queue.ts";
import type { PacketThreadMessage } from "./table-queue.ts";

/** What the thread is born with. */
export interface PacketThreadData {
  readonly node: string;
  readonly membership: MembershipSettings | undefined;
  readonly excludeInterfaces: readonly string[];
  readonly heartbeat: SharedArrayBuffer;
  readonly messages: MessagePort;
  readonly facts: MessagePort;
}

/** What the thread's port carries back: facts, and leave to send another slice of the table. */
export type PacketThreadAnswer = FromPacketThread | { readonly kind: "sliceTaken" };

export interface PacketThreadOptions {
  /** This node's name, as candidates carry it. */
  readonly node: string;
  /** Undefined: without membership, every candidate is taken to be alive. */
  readonly membership?: MembershipSettings | undefined;
  /** Sources of regular expressions: interfaces never to announce on. */
  readonly excludeInterfaces: readonly string[];
  /** The thread's program: `packet-thread.ts`, or its bundle. */
  readonly entry: URL;
  /** Called for each fact, in order. */
  readonly onFact: (fact: FromPacketThread) => void;
  /** The thread has ended though nobody asked it to (`error` says why, when it threw): the process must end too. */
  readonly onExit: (error: Error | undefined) => void;
}

export interface PacketThreadHandle {
  /** Hands a message over, in order. Table deltas merge while the thread is behind: at most one row per address waits. @throws Error when a table version is left out */
  send(message: ToPacketThread): void;
  /** Milliseconds since the thread's last sign of life; over about a second means that it is stuck. */
  lastTurnAgoMs(): number;
  /** Ends the thread in an orderly way; by force when it has not ended after STOP_TIMEOUT_MS. Facts go on until then. */
  stop(): Promise<void>;
}

/** How long an orderly end may take. */
export const STOP_TIMEOUT_MS = 2_000;

/** Room for young objects: little lives long here, and room that a burst took would be kept. bench/arp-latency.ts and bench/memory.ts measure with it. */
const YOUNG_GENERATION_MB = 4;

/** Starts the thread. It inherits the caller's network namespace. */
export function startPacketThread(options: PacketThreadOptions): PacketThreadHandle {
  const heartbeat = new Heartbeat();
  const messages = new MessageChannel();
  const facts = new MessageChannel();
  const queue = new TableQueue();
  const data: PacketThreadData = {
    node: options.node,
    membership: options.membership,
    excludeInterfaces: options.excludeInterfaces,
    heartbeat: heartbeat.buffer,
    messages: messages.port2,
    facts: facts.port2,
  };
  const worker = new Worker(options.entry, {
    name: "packet",
    workerData: data,
    transferList: [messages.port2, facts.port2],
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
  });
  let stopping = false;
  let over = false;
  let failure: Error | undefined;

  const post = (message: PacketThreadMessage): void => {
    // The eventfd's number may be somebody else's by now.
    if (over) return;
    messages.port1.postMessage(message);
    // Without an eventfd the thread is still starting, and reads the port before its first wait.
    const fd = heartbeat.wakeFd;
    if (fd !== undefined) wake(fd);
  };
  const pump = (): void => {
    for (let slice = queue.take(); slice !== undefined; slice = queue.take()) post(slice);
  };
  const hear = (answer: PacketThreadAnswer): void => {
    if (answer.kind !== "sliceTaken") return options.onFact(answer);
    queue.taken();
    if (!stopping) pump();
  };
  facts.port1.on("message", hear);
  worker.on("error", (error) => {
    failure = error instanceof Error ? error : new Error(String(error));
  });
  const ended = new Promise<void>((resolve) => {
    worker.on("exit", () => {
      over = true;
      const fd = heartbeat.wakeFd;
      if (fd !== undefined) closeWakeFd(fd);
      messages.port1.close();
      // Facts that are still on their way come first.
      for (let left = receiveMessageOnPort(facts.port1); left !== undefined; left = receiveMessageOnPort(facts.port1)) {
        hear(left.message as PacketThreadAnswer);
      }
      facts.port1.close();
      if (!stopping || failure !== undefined) options.onExit(failure);
      resolve();
    });
  });

  return {
    send(message) {
      if (message.kind !== "table") return post(message);
      queue.push(message);
      pump();
    },
    lastTurnAgoMs: () => heartbeat.lastBeatAgoMs(),
    async stop() {
      if (!stopping) post({ kind: "stop" });
      stopping = true;
      const timer = systemClock.after(STOP_TIMEOUT_MS, () => void worker.terminate());
      await ended;
      timer.cancel();
    },
  };
}
