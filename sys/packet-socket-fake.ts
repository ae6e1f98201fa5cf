/**
 * The in-memory twin of `packet-socket.ts`: a segment that joins fake sockets. What one sends all others receive, as on
 * a hub; nothing is filtered but by EtherType.
 */

import type { IpFamily } from "../wire/ip-address.ts";
import type { PacketSocket } from "./packet-socket.ts";
import { SysError } from "./sys-error.ts";

const ETHER_TYPES: Readonly<Record<IpFamily, number>> = { IPv4: 0x0806, IPv6: 0x86dd };
/** Frames that a fake socket keeps until they are read; later ones are lost, as in the kernel. */
const MAX_WAITING_FRAMES = 1024;
/** Fake descriptors are negative, so that one that reaches the kernel by mistake does nothing. */
let nextDescriptor = -1000;

/** A fake socket with what tests look at. */
export interface FakePacketSocket extends PacketSocket {
  /** Frames that wait to be read. */
  readonly waiting: number;
}

export class FakeSegment {
  readonly #sockets = new Map<FakePacketSocket, Uint8Array[]>();
  readonly #families = new WeakMap<FakePacketSocket, IpFamily>();
  readonly #down = new Set<FakePacketSocket>();

  /** A socket on this segment, receiving ARP (or IPv6) from now on. */
  open(family: IpFamily = "IPv4"): FakePacketSocket {
    const sockets = this.#sockets;
    const down = this.#down;
    const deliver = (from: FakePacketSocket, frame: Uint8Array): void => this.#deliver(from, frame);
    const socket: FakePacketSocket = {
      fd: nextDescriptor--,
      get waiting(): number {
        return sockets.get(socket)?.length ?? 0;
      },
      receive(buffer) {
        const queue = sockets.get(socket);
        if (queue === undefined) throw new SysError({ code: "EBADF", syscall: "recv" });
        const frame = queue.shift();
        if (frame === undefined) return undefined;
        const cut = frame.subarray(0, buffer.length);
        buffer.set(cut);
        return cut.length;
      },
      send(frame) {
        if (!sockets.has(socket)) throw new SysError({ code: "EBADF", syscall: "send" });
        if (down.has(socket)) throw new SysError({ code: "ENETDOWN", syscall: "send" });
        deliver(socket, frame);
      },
      close() {
        sockets.delete(socket);
      },
    };
    this.#sockets.set(socket, []);
    this.#families.set(socket, family);
    return socket;
  }

  /** Makes sending from the socket fail with ENETDOWN, or work again. */
  setDown(socket: FakePacketSocket, isDown: boolean): void {
    if (isDown) this.#down.add(socket);
    else this.#down.delete(socket);
  }

  #deliver(from: FakePacketSocket, frame: Uint8Array): void {
    const etherType = (frame[12] ?? 0) * 256 + (frame[13] ?? 0);
    for (const [socket, queue] of this.#sockets) {
      if (ETHER_TYPES[this.#families.get(socket) ?? "IPv4"] !== etherType) continue;
      if (socket !== from && queue.length < MAX_WAITING_FRAMES) queue.push(frame.slice());
    }
  }
}
