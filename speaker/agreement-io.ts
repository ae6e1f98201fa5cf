/**
 * The sockets of the agreement: its UDP socket, its TCP listener and streams, and the questions to other nodes' kernels.
 * Outputs of the agreement go in, and what the network does comes out as inputs of the agreement. ARP questions are not
 * its business: they need the interfaces' sockets.
 */

import type { IcmpSocket, IcmpSocketOptions } from "../sys/icmp-socket.ts";
import type { Poller } from "../sys/poll.ts";
import { SysError } from "../sys/sys-error.ts";
import type { TcpListener, TcpStream } from "../sys/tcp-socket.ts";
import { MAX_DATAGRAM_BYTES } from "../sys/udp-socket.ts";
import type { UdpSocket } from "../sys/udp-socket.ts";
import type { AgreementInput, AgreementOutput } from "./agreement/agreement-protocol.ts";
import { AgreementStreams } from "./agreement-streams.ts";
import { KernelQuestions } from "./kernel-questions.ts";
import type { Instant } from "./machine.ts";
import type { Endpoint } from "./membership/message.ts";
import { NetworkFailures } from "./network-failures.ts";

/** The system, as the agreement's sockets need it; a test gives fakes. All that open something throw SysError. */
export interface AgreementIoPorts {
  readonly poller: Pick<Poller, "add" | "remove" | "setInterest">;
  openUdpSocket(at: Endpoint): UdpSocket;
  listenTcp(at: Endpoint & { readonly backlog: number }): TcpListener;
  connectTcp(to: Endpoint): TcpStream;
  openIcmpSocket(options: IcmpSocketOptions): IcmpSocket;
  /** Counts something that was left out. */
  dropped(reason: string): void;
  warn(event: string, fields: Readonly<Record<string, string | number>>): void;
}

export interface AgreementIoOptions {
  /** Where the UDP socket and the TCP listener are bound; the questions come from the same address and ask for the same port. */
  readonly endpoint: Endpoint;
  /** Tells our echo replies from those of other programs on this host: 16 bits, best drawn at random. */
  readonly icmpIdentifier: number;
}

/** What this door performs; the driver keeps the other outputs. */
export type AgreementIoOutput = Extract<AgreementOutput, { kind: "datagram" | "connect" | "streamSend" | "streamEnd" | "streamClose" | "ask" }>;

/** Datagrams read per turn, so that a flood of them leaves ARP its turn: a sealed ping, its answer included, takes up to 0.2 ms. */
export const MAX_DATAGRAMS_PER_TURN = 32;

export class AgreementIo {
  readonly #ports: AgreementIoPorts;
  readonly #failures: NetworkFailures;
  readonly #udp: UdpSocket;
  readonly #streams: AgreementStreams;
  readonly #questions: KernelQuestions;
  readonly #buffer = new Uint8Array(MAX_DATAGRAM_BYTES);

  /** Opens the sockets. @throws SysError with a sentence when the port is taken, or the address is none of this host */
  constructor(options: AgreementIoOptions, ports: AgreementIoPorts) {
    const { endpoint } = options;
    this.#ports = ports;
    this.#failures = new NetworkFailures(ports);
    const shared = { ...bindPorts(ports), failures: this.#failures };
    this.#udp = opening("UDP", endpoint, () => ports.openUdpSocket(endpoint));
    try {
      this.#streams = opening("TCP", endpoint, () => new AgreementStreams(endpoint, shared));
      try {
        this.#questions = opening("ICMP", endpoint, () => new KernelQuestions({ endpoint, identifier: options.icmpIdentifier }, shared));
      } catch (error) {
        this.#streams.closeAll();
        throw error;
      }
    } catch (error) {
      this.#udp.close();
      throw error;
    }
    ports.poller.add(this.#udp.fd);
  }

  /** Whether the descriptor is one of its own: then `ready` is to be called with it. */
  owns(fd: number): boolean {
    return fd === this.#udp.fd || this.#streams.owns(fd) || this.#questions.owns(fd);
  }

  /** Takes in what a descriptor of its own has, a bounded amount; what is left keeps the descriptor ready. Nothing for one that has gone. */
  ready(fd: number, now: Instant): AgreementInput[] {
    if (fd === this.#udp.fd) return this.drain();
    if (this.#questions.owns(fd)) return this.#questions.ready(fd, now);
    return this.#streams.ready(fd, now);
  }

  /** The next datagrams that wait, none when all are read: after this process stood still, before anything is concluded from silence. */
  drain(): AgreementInput[] {
    const inputs: AgreementInput[] = [];
    while (inputs.length < MAX_DATAGRAMS_PER_TURN) {
      try {
        const received = this.#udp.receive(this.#buffer);
        if (received === undefined) break;
        const { address, port, length } = received;
        inputs.push({ kind: "datagram", from: { address, port }, bytes: this.#buffer.slice(0, length) });
      } catch (error) {
        this.#failures.record(error, "datagramReceive");
        break;
      }
    }
    return inputs;
  }

  /** Performs an output; what fails at once, or is known at once, is returned. */
  perform(output: AgreementIoOutput, now: Instant): AgreementInput[] {
    switch (output.kind) {
      case "datagram":
        this.#send(output.to, output.bytes);
        return [];
      case "connect":
        return this.#streams.connect(output.stream, output.to);
      case "streamSend":
        return this.#streams.send(output.stream, output.bytes);
      case "streamEnd":
        return this.#streams.end(output.stream);
      case "streamClose":
        this.#streams.close(output.stream, now);
        return [];
      case "ask":
        if (output.questions.includes("icmp")) this.#questions.askIcmp(output.address, now);
        return output.questions.includes("tcp") ? this.#questions.askTcp(output.address, now) : [];
    }
  }

  /** Does what is due. It may be called late, and when nothing is due. */
  timeout(now: Instant): void {
    this.#streams.timeout(now);
    this.#questions.timeout(now);
  }

  /** When to call `timeout` if nothing else happens first. */
  nextTimeout(): Instant | undefined {
    const [streams, questions] = [this.#streams.nextTimeout(), this.#questions.nextTimeout()];
    return streams === undefined || questions === undefined ? (streams ?? questions) : Math.min(streams, questions);
  }

  /** Closes everything; nothing works afterwards. */
  close(): void {
    this.#ports.poller.remove(this.#udp.fd);
    this.#udp.close();
    this.#streams.closeAll();
    this.#questions.close();
  }

  #send(to: Endpoint, bytes: Uint8Array): void {
    try {
      this.#udp.send(bytes, to);
    } catch (error) {
      this.#failures.record(error, "datagramSend");
    }
  }
}

function bindPorts(ports: AgreementIoPorts): Omit<AgreementIoPorts, "openUdpSocket" | "warn"> {
  return {
    poller: ports.poller,
    listenTcp: (at) => ports.listenTcp(at),
    connectTcp: (to) => ports.connectTcp(to),
    openIcmpSocket: (options) => ports.openIcmpSocket(options),
    dropped: (reason) => ports.dropped(reason),
  };
}

/** Adds to what the system says a sentence for whoever runs the node. */
function opening<Socket>(protocol: string, { address, port }: Endpoint, open: () => Socket): Socket {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const detail =
      error.code === "EADDRINUSE"
        ? `${protocol} port ${port} of ${address} is taken: another speaker runs on this node, Herald's or MetalLB's`
        : error.code === "EADDRNOTAVAIL"
          ? `${address} is no address of this node`
          : `${protocol} socket on ${address}, port ${port}`;
    throw new SysError({ code: error.code, syscall: error.syscall, detail });
  }
}
