/**
 * The in-memory twin of `icmp-socket.ts`: a network of hosts that reply to echo requests, or are silent.
 */

import type { EchoReply, IcmpSocket, IcmpSocketOptions } from "./icmp-socket.ts";
import { familyOf } from "./socket-address.ts";
import { SysError } from "./sys-error.ts";

/** Replies that a fake socket keeps until they are read; later ones are lost, as in the kernel. */
const MAX_WAITING_REPLIES = 1024;
/** Fake descriptors are negative, so that one that reaches the kernel by mistake does nothing. */
let nextDescriptor = -40_000;

export class FakeIcmpNetwork {
  readonly #answering = new Set<string>();
  readonly #waiting = new Map<number, EchoReply[]>();
  #sendError: string | undefined;

  /** Says whether a host replies; one that was never named does not. */
  setAnswering(address: string, isAnswering: boolean): void {
    if (isAnswering) this.#answering.add(address);
    else this.#answering.delete(address);
  }

  /** Makes every sending fail with this code, or work again. */
  failSending(code: string | undefined): void {
    this.#sendError = code;
  }

  /** For a fake poller. */
  isReadable(fd: number): boolean {
    return (this.#waiting.get(fd)?.length ?? 0) > 0;
  }

  /** Twin of `openIcmpSocket`. Identifiers keep nothing apart here: each socket gets its own replies. */
  readonly open = ({ address }: IcmpSocketOptions): IcmpSocket => {
    const fd = nextDescriptor--;
    const family = familyOf(address);
    this.#waiting.set(fd, []);
    const queueFor = (syscall: string): EchoReply[] => {
      const queue = this.#waiting.get(fd);
      if (queue === undefined) throw new SysError({ code: "EBADF", syscall });
      return queue;
    };
    return {
      fd,
      family,
      send: (request) => {
        const queue = queueFor("sendto");
        if (familyOf(request.address) !== family) throw new SysError({ code: "EAFNOSUPPORT", syscall: "sendto" });
        if (this.#sendError !== undefined) throw new SysError({ code: this.#sendError, syscall: "sendto" });
        if (this.#answering.has(request.address) && queue.length < MAX_WAITING_REPLIES) queue.push({ address: request.address, sequence: request.sequence });
      },
      receive: () => queueFor("recvfrom").shift(),
      close: () => void this.#waiting.delete(fd),
    };
  };
}
