/**
 * A door for datagrams. Its in-memory twin is `udp-socket-fake.ts`; `udp-socket.test.ts` holds both to the same suite.
 */

import { close, setReceiveBuffer } from "./libc.ts";
import { bindIp, localEndpoint, openIpDescriptor, receiveFromIp, sendToIp } from "./libc-inet.ts";
import type { IpEndpoint } from "./socket-address.ts";
import { SysError } from "./sys-error.ts";

/** Length of what was copied into the buffer, and who sent it. */
export interface ReceivedDatagram extends IpEndpoint {
  readonly length: number;
}

export interface UdpSocket {
  /** What a poller waits on. */
  readonly fd: number;
  /** Where it is bound, with the port that the kernel chose if that was left to it. */
  readonly endpoint: IpEndpoint;
  /** Copies the next datagram into `buffer` (cut to its length); undefined when none is waiting. @throws SysError */
  receive(buffer: Uint8Array): ReceivedDatagram | undefined;
  /** Sends one datagram. Never waits. @throws SysError (EAGAIN, ENOBUFS, ENETUNREACH, EMSGSIZE, EAFNOSUPPORT, EINVAL for what is no address) */
  send(bytes: Uint8Array, to: IpEndpoint): void;
  /** Ends it; a second time does nothing. */
  close(): void;
}

/** Datagrams that the kernel may keep for us while the thread is busy or the machine stood still: some hundred peers' heartbeats of a second. */
const RECEIVE_BUFFER_BYTES = 1024 * 1024;
/** Longest UDP payload. */
export const MAX_DATAGRAM_BYTES = 65_535;

/**
 * Opens a socket of the address's family. An IPv6 one is for IPv6 only.
 * @throws SysError EADDRINUSE, EADDRNOTAVAIL
 */
export function openUdpSocket(at: IpEndpoint): UdpSocket {
  const fd = openIpDescriptor(at.address, "udp");
  let endpoint: IpEndpoint;
  try {
    setReceiveBuffer(fd, RECEIVE_BUFFER_BYTES);
    bindIp(fd, at);
    endpoint = localEndpoint(fd);
  } catch (error) {
    close(fd);
    throw error;
  }
  let isOpen = true;
  const mustBeOpen = (syscall: string): void => {
    if (!isOpen) throw new SysError({ code: "EBADF", syscall });
  };
  return {
    fd,
    endpoint,
    receive(buffer) {
      mustBeOpen("recvfrom");
      return receiveFromIp(fd, buffer);
    },
    send(bytes, to) {
      mustBeOpen("sendto");
      if (to.address.includes(":") !== at.address.includes(":")) throw new SysError({ code: "EAFNOSUPPORT", syscall: "sendto" });
      sendToIp(fd, bytes, to);
    },
    close() {
      if (isOpen) close(fd);
      isOpen = false;
    },
  };
}
