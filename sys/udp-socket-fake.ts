/**
 * The in-memory twin of `udp-socket.ts`: a network that joins fake sockets. Nothing is lost but what finds no socket or
 * no room.
 */

import { familyOf } from "./socket-address.ts";
import type { IpEndpoint } from "./socket-address.ts";
import { SysError } from "./sys-error.ts";
import type { UdpSocket } from "./udp-socket.ts";

/** Datagrams that a fake socket keeps until they are read; later ones are lost, as in the kernel. */
const MAX_WAITING_DATAGRAMS = 8_192;
/** Ports that are given out when the choice is left to the network. */
const FIRST_FREE_PORT = 32_768;
/** Longest payload over IPv4: 65,535 without the headers. */
const MAX_PAYLOAD = 65_507;
/** Fake descriptors are negative, so that one that reaches the kernel by mistake does nothing. */
let nextDescriptor = -20_000;

interface Waiting {
  readonly from: IpEndpoint;
  readonly bytes: Uint8Array;
}

interface Bound {
  readonly socket: UdpSocket;
  readonly queue: Waiting[];
}

const keyOf = ({ address, port }: IpEndpoint): string => `${address} ${port}`;

export class FakeUdpNetwork {
  readonly #bound = new Map<string, Bound>();
  readonly #byFd = new Map<number, Bound>();
  #sendError: string | undefined;
  #nextPort = FIRST_FREE_PORT;

  /** Twin of `openUdpSocket`. */
  readonly open = (at: IpEndpoint): UdpSocket => {
    const endpoint = at.port === 0 ? { address: at.address, port: this.#nextPort++ } : { address: at.address, port: at.port };
    if (this.#bound.has(keyOf(endpoint))) throw new SysError({ code: "EADDRINUSE", syscall: "bind" });
    const queue: Waiting[] = [];
    const socket: UdpSocket = {
      fd: nextDescriptor--,
      endpoint,
      receive: (buffer) => {
        this.#mustBeOpen(socket, "recvfrom");
        const next = queue.shift();
        if (next === undefined) return undefined;
        const cut = next.bytes.subarray(0, buffer.length);
        buffer.set(cut);
        return { length: cut.length, ...next.from };
      },
      send: (bytes, to) => {
        this.#mustBeOpen(socket, "sendto");
        this.#send(endpoint, { to, bytes });
      },
      close: () => {
        if (this.#byFd.delete(socket.fd)) this.#bound.delete(keyOf(endpoint));
      },
    };
    const bound = { socket, queue };
    this.#bound.set(keyOf(endpoint), bound);
    this.#byFd.set(socket.fd, bound);
    return socket;
  };

  /** For a fake poller. */
  isReadable(fd: number): boolean {
    return (this.#byFd.get(fd)?.queue.length ?? 0) > 0;
  }

  /** Makes every sending fail with this code, or work again. */
  failSending(code: string | undefined): void {
    this.#sendError = code;
  }

  #mustBeOpen(socket: UdpSocket, syscall: string): void {
    if (!this.#byFd.has(socket.fd)) throw new SysError({ code: "EBADF", syscall });
  }

  #send(from: IpEndpoint, { to, bytes }: { readonly to: IpEndpoint; readonly bytes: Uint8Array }): void {
    if (familyOf(from.address) !== familyOf(to.address)) throw new SysError({ code: "EAFNOSUPPORT", syscall: "sendto" });
    if (bytes.length > MAX_PAYLOAD) throw new SysError({ code: "EMSGSIZE", syscall: "sendto" });
    if (to.port === 0) throw new SysError({ code: "EINVAL", syscall: "sendto" });
    if (this.#sendError !== undefined) throw new SysError({ code: this.#sendError, syscall: "sendto" });
    const queue = this.#bound.get(keyOf(to))?.queue;
    if (queue !== undefined && queue.length < MAX_WAITING_DATAGRAMS) queue.push({ from, bytes: bytes.slice() });
  }
}
