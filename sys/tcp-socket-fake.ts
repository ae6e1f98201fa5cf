/**
 * The in-memory twin of `tcp-socket.ts`: a network of hosts that connect to each other. A connection is there as soon as
 * it is asked for; a host that was never named, or is silent, does not answer, and asking it stays pending for ever.
 */

import type { IpEndpoint } from "./socket-address.ts";
import { SysError } from "./sys-error.ts";
import type { AcceptedTcpStream, TcpListener, TcpStream } from "./tcp-socket.ts";

/** Bytes under way to one side: more are not taken. */
const WINDOW_BYTES = 64 * 1024;
const FIRST_FREE_PORT = 32_768;
/** Fake descriptors are negative, so that one that reaches the kernel by mistake does nothing. */
let nextDescriptor = -30_000;

/** What one host may do. */
export interface FakeTcpHost {
  /** Twin of `listenTcp`; the address must be the host's own. */
  listen(at: IpEndpoint & { readonly backlog: number }): TcpListener;
  /** Twin of `connectTcp`. */
  connect(to: IpEndpoint): TcpStream;
}

/** One side of a connection. */
interface Side {
  readonly fd: number;
  readonly peer: IpEndpoint;
  other: Side | undefined;
  state: "pending" | "connected";
  error: string | undefined;
  readonly incoming: number[];
  /** The other side sends nothing more. */
  ended: boolean;
  /** This side sends nothing more. */
  endedWriting: boolean;
  open: boolean;
}

interface Listening {
  readonly fd: number;
  readonly backlog: number;
  readonly queue: Side[];
}

const keyOf = ({ address, port }: IpEndpoint): string => `${address} ${port}`;

export class FakeTcpNetwork {
  readonly #hosts = new Set<string>();
  readonly #silent = new Set<string>();
  readonly #listening = new Map<string, Listening>();
  readonly #sides = new Map<number, Side>();
  #nextPort = FIRST_FREE_PORT;
  #acceptError: string | undefined;

  /** A host that answers from now on: with a refusal where nobody listens. */
  host(address: string): FakeTcpHost {
    this.#hosts.add(address);
    return { listen: (at) => this.#listen(at), connect: (to) => this.#connect(address, to) };
  }

  /** Makes a host silent: whoever connects to it waits. Or lets it answer again. */
  setSilent(address: string, isSilent: boolean): void {
    if (isSilent) this.#silent.add(address);
    else this.#silent.delete(address);
  }

  /** Makes every accepting fail with this code, or work again. */
  failAccepting(code: string | undefined): void {
    this.#acceptError = code;
  }

  /** Sides of connections that are open, both sides counted. */
  get openStreams(): number {
    return this.#sides.size;
  }

  /** For a fake poller. */
  isReadable(fd: number): boolean {
    const side = this.#sides.get(fd);
    if (side !== undefined) return side.error !== undefined || side.ended || side.incoming.length > 0;
    return [...this.#listening.values()].some((listening) => listening.fd === fd && listening.queue.length > 0);
  }

  /** For a fake poller. */
  isWritable(fd: number): boolean {
    const side = this.#sides.get(fd);
    if (side === undefined) return false;
    return side.error !== undefined || (side.state === "connected" && room(side) > 0);
  }

  #listen(at: IpEndpoint & { readonly backlog: number }): TcpListener {
    const endpoint = { address: at.address, port: at.port === 0 ? this.#nextPort++ : at.port };
    const key = keyOf(endpoint);
    if (this.#listening.has(key)) throw new SysError({ code: "EADDRINUSE", syscall: "bind" });
    const listening: Listening = { fd: nextDescriptor--, backlog: at.backlog, queue: [] };
    this.#listening.set(key, listening);
    return {
      fd: listening.fd,
      endpoint,
      accept: () => {
        if (this.#listening.get(key) !== listening) throw new SysError({ code: "EBADF", syscall: "accept4" });
        if (this.#acceptError !== undefined && listening.queue.length > 0) throw new SysError({ code: this.#acceptError, syscall: "accept4" });
        const side = listening.queue.shift();
        return side === undefined ? undefined : this.#streamOn(side);
      },
      close: () => {
        if (this.#listening.get(key) !== listening) return;
        this.#listening.delete(key);
        for (const side of listening.queue) this.#reset(side);
      },
    };
  }

  #connect(address: string, to: IpEndpoint): TcpStream {
    const side = this.#side(to);
    if (!this.#hosts.has(to.address) || this.#silent.has(to.address)) return this.#streamOn(side);
    const listening = this.#listening.get(keyOf(to));
    if (listening === undefined) {
      side.error = "ECONNREFUSED";
    } else if (listening.queue.length <= listening.backlog) {
      const accepted = this.#side({ address, port: this.#nextPort++ });
      accepted.other = side;
      side.other = accepted;
      side.state = accepted.state = "connected";
      listening.queue.push(accepted);
    }
    return this.#streamOn(side);
  }

  #side(peer: IpEndpoint): Side {
    const side: Side = { fd: nextDescriptor--, peer, other: undefined, state: "pending", error: undefined, incoming: [], ended: false, endedWriting: false, open: true };
    this.#sides.set(side.fd, side);
    return side;
  }

  #streamOn(side: Side): AcceptedTcpStream {
    const work = (syscall: string): void => {
      if (!side.open) throw new SysError({ code: "EBADF", syscall });
      const { error } = side;
      side.error = undefined;
      if (error !== undefined) throw new SysError({ code: error, syscall });
    };
    return {
      fd: side.fd,
      peer: side.peer,
      connected() {
        work("connect");
        return side.state;
      },
      receive(buffer) {
        work("recv");
        if (side.incoming.length === 0) return side.ended ? 0 : undefined;
        const bytes = side.incoming.splice(0, buffer.length);
        buffer.set(bytes);
        return bytes.length;
      },
      send(bytes) {
        work("send");
        const { other } = side;
        if (side.endedWriting || (side.state === "connected" && other === undefined)) throw new SysError({ code: "EPIPE", syscall: "send" });
        if (other === undefined) return 0;
        const taken = bytes.subarray(0, room(side));
        for (const byte of taken) other.incoming.push(byte);
        return taken.length;
      },
      endWriting() {
        if (!side.open) throw new SysError({ code: "EBADF", syscall: "shutdown" });
        side.endedWriting = true;
        if (side.other !== undefined) side.other.ended = true;
      },
      // As TCP does it: who leaves bytes unread takes back what it said.
      close: () => this.#end(side, side.incoming.length > 0),
      abort: () => this.#end(side, true),
    };
  }

  #end(side: Side, byReset: boolean): void {
    if (!side.open) return;
    side.open = false;
    this.#sides.delete(side.fd);
    const { other } = side;
    if (other === undefined) return;
    other.other = undefined;
    if (byReset) this.#reset(other);
    else other.ended = true;
  }

  #reset(side: Side): void {
    side.error = "ECONNRESET";
    side.incoming.length = 0;
    side.ended = true;
    if (side.other !== undefined) side.other.error = "ECONNRESET";
    side.other = undefined;
  }
}

function room(side: Side): number {
  return side.other === undefined ? WINDOW_BYTES : Math.max(0, WINDOW_BYTES - side.other.incoming.length);
}
