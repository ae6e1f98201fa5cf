/**
 * Questions to the kernel of another node, whose answers tell a dead machine from a dead process: an ICMP echo request,
 * and a TCP connection to the membership port that is reset as soon as it stands. A connection says that the kernel
 * lives and that a process has the port open, running or not; a refusal, that the kernel lives and no process has it. Any
 * other error, and silence for a second, is no answer.
 *
 * A lost SYN is not waited for: the kernel would send it again after a second only (RFC 6298 §2), so that a question asked
 * anew opens a fresh connection once the latest is 100 ms old.
 */

import type { IcmpSocket, IcmpSocketOptions } from "../sys/icmp-socket.ts";
import type { Poller } from "../sys/poll.ts";
import type { IpEndpoint } from "../sys/socket-address.ts";
import { SysError } from "../sys/sys-error.ts";
import type { TcpStream } from "../sys/tcp-socket.ts";
import type { AgreementInput } from "./agreement/agreement-protocol.ts";
import type { Instant } from "./machine.ts";
import type { NetworkFailures } from "./network-failures.ts";

export interface KernelQuestionsPorts {
  readonly poller: Pick<Poller, "add" | "remove">;
  readonly failures: NetworkFailures;
  dropped(reason: string): void;
  /** @throws SysError */
  connectTcp(to: IpEndpoint): TcpStream;
  /** @throws SysError */
  openIcmpSocket(options: IcmpSocketOptions): IcmpSocket;
}

export interface KernelQuestionsOptions {
  /** Where questions come from, and the port that is asked for. */
  readonly endpoint: IpEndpoint;
  /** Tells our echo replies from those of other programs: 16 bits. */
  readonly identifier: number;
}

/** A connection that is as old as this makes room for a fresh one: a round trip on one segment takes far less. */
export const FRESH_AFTER_MS = 100;
/** How long an answer counts. */
export const ANSWER_WITHIN_MS = 1_000;
/** Connections under way to one address; a fifth takes the place of the oldest. */
export const MAX_CONNECTIONS_PER_ADDRESS = 4;
/** Addresses that are asked by TCP at a time. */
export const MAX_ADDRESSES_ASKED = 64;
/** Echo requests that may still be answered; a further one takes the place of the oldest. */
export const MAX_ECHOES_WAITING = 1_024;
/** Echo replies read per turn. */
const MAX_REPLIES_PER_TURN = 256;
const SEQUENCES = 0x1_0000;

type Answer = Extract<AgreementInput, { kind: "answer" }>;

interface Connection {
  readonly address: string;
  readonly stream: TcpStream;
  readonly begun: Instant;
}

export class KernelQuestions {
  readonly #ports: KernelQuestionsPorts;
  readonly #endpoint: IpEndpoint;
  readonly #icmp: IcmpSocket;
  /** Connections under way by descriptor, in the order they were begun. */
  readonly #connections = new Map<number, Connection>();
  /** The same by address, the oldest first. */
  readonly #byAddress = new Map<string, Connection[]>();
  /** Echo requests by sequence, in the order they were sent. */
  readonly #echoes = new Map<number, { readonly address: string; readonly sent: Instant }>();
  #sequence = 0;

  /** @throws SysError EPERM without CAP_NET_RAW, EADDRNOTAVAIL */
  constructor(options: KernelQuestionsOptions, ports: KernelQuestionsPorts) {
    this.#ports = ports;
    this.#endpoint = options.endpoint;
    this.#icmp = ports.openIcmpSocket({ address: options.endpoint.address, identifier: options.identifier });
    ports.poller.add(this.#icmp.fd);
  }

  owns(fd: number): boolean {
    return fd === this.#icmp.fd || this.#connections.has(fd);
  }

  askIcmp(address: string, now: Instant): void {
    this.#sequence = (this.#sequence + 1) % SEQUENCES;
    try {
      this.#icmp.send({ address, sequence: this.#sequence });
    } catch (error) {
      this.#ports.failures.record(error, "icmpQuestion");
      return;
    }
    this.#echoes.delete(this.#sequence);
    this.#echoes.set(this.#sequence, { address, sent: now });
    for (const [sequence] of this.#echoes) {
      if (this.#echoes.size <= MAX_ECHOES_WAITING) break;
      this.#echoes.delete(sequence);
    }
  }

  /** Begins a connection, unless a young one is under way. What this host's kernel knows at once is returned. */
  askTcp(address: string, now: Instant): Answer[] {
    const underWay = this.#byAddress.get(address) ?? [];
    const latest = underWay.at(-1);
    if (latest !== undefined && now - latest.begun < FRESH_AFTER_MS) return [];
    const [oldest] = underWay;
    if (oldest !== undefined && underWay.length >= MAX_CONNECTIONS_PER_ADDRESS) this.#end(oldest);
    if (!this.#byAddress.has(address) && this.#byAddress.size >= MAX_ADDRESSES_ASKED) {
      this.#ports.dropped("tcpQuestionTooMany");
      return [];
    }
    let stream: TcpStream;
    try {
      stream = this.#ports.connectTcp({ address, port: this.#endpoint.port });
    } catch (error) {
      return this.#failed(address, error);
    }
    const connection = { address, stream, begun: now };
    this.#connections.set(stream.fd, connection);
    this.#byAddress.set(address, [...(this.#byAddress.get(address) ?? []), connection]);
    this.#ports.poller.add(stream.fd, { writable: true });
    return [];
  }

  /** Takes in what one of its descriptors has. */
  ready(fd: number, now: Instant): Answer[] {
    if (fd === this.#icmp.fd) return this.#receiveEchoes(now);
    const connection = this.#connections.get(fd);
    if (connection === undefined) return [];
    const { address, stream, begun } = connection;
    // This process stood still meanwhile: when the answer came, nobody knows.
    if (now - begun > ANSWER_WITHIN_MS) {
      this.#end(connection);
      this.#ports.dropped("tcpAnswerLate");
      return [];
    }
    try {
      if (stream.connected() === "pending") return [];
    } catch (error) {
      this.#end(connection);
      return this.#failed(address, error);
    }
    return [this.#answered(address, "answered")];
  }

  /** Gives up connections that nobody answered. */
  timeout(now: Instant): void {
    for (const connection of this.#connections.values()) {
      if (connection.begun + ANSWER_WITHIN_MS > now) return;
      this.#end(connection);
    }
  }

  nextTimeout(): Instant | undefined {
    for (const { begun } of this.#connections.values()) return begun + ANSWER_WITHIN_MS;
    return undefined;
  }

  close(): void {
    for (const connection of this.#connections.values()) this.#end(connection);
    this.#ports.poller.remove(this.#icmp.fd);
    this.#icmp.close();
  }

  #failed(address: string, error: unknown): Answer[] {
    if (error instanceof SysError && error.code === "ECONNREFUSED") return [this.#answered(address, "refused")];
    this.#ports.failures.record(error, "tcpQuestion");
    return [];
  }

  /** One answer is enough: what else is under way to that address ends. */
  #answered(address: string, result: Answer["result"]): Answer {
    for (const connection of this.#byAddress.get(address) ?? []) this.#end(connection);
    return { kind: "answer", address, question: "tcp", result };
  }

  #end(connection: Connection): void {
    const { address, stream } = connection;
    this.#ports.poller.remove(stream.fd);
    this.#connections.delete(stream.fd);
    const left = (this.#byAddress.get(address) ?? []).filter((other) => other !== connection);
    if (left.length === 0) this.#byAddress.delete(address);
    else this.#byAddress.set(address, left);
    stream.abort();
  }

  #receiveEchoes(now: Instant): Answer[] {
    const answers: Answer[] = [];
    for (let count = 0; count < MAX_REPLIES_PER_TURN; count++) {
      try {
        const reply = this.#icmp.receive();
        if (reply === undefined) break;
        const asked = this.#echoes.get(reply.sequence);
        this.#echoes.delete(reply.sequence);
        // One that comes too late, or from whom was not asked, says nothing about now.
        if (asked === undefined || asked.address !== reply.address || now - asked.sent > ANSWER_WITHIN_MS) this.#ports.dropped("icmpReplyUnasked");
        else answers.push({ kind: "answer", address: reply.address, question: "icmp", result: "answered" });
      } catch (error) {
        this.#ports.failures.record(error, "icmpReply");
        break;
      }
    }
    return answers;
  }
}
