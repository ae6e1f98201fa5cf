/**
 * Doors for TCP: a listener, and streams that it accepts or that we open. Nothing here waits. The in-memory twin is
 * `tcp-socket-fake.ts`; `tcp-socket.test.ts` holds both to the same suite.
 */

import { close, receive } from "./libc.ts";
import { acceptIp, bindIp, connectionState, connectIp, listenIp, localEndpoint, openIpDescriptor, sendSome, setResetOnClose, setReuseAddress, shutdownWriting } from "./libc-inet.ts";
import type { IpEndpoint } from "./socket-address.ts";
import { SysError } from "./sys-error.ts";

export interface TcpStream {
  /** What a poller waits on: writable when it is connected or has failed, readable when bytes, the end or an error wait. */
  readonly fd: number;
  /** How connecting goes. @throws SysError with what it met (ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT), once; later also ECONNRESET or EPIPE */
  connected(): "pending" | "connected";
  /** Copies bytes into `buffer`; returns how many, 0 when the peer sends nothing more, undefined when none wait. @throws SysError ECONNRESET */
  receive(buffer: Uint8Array): number | undefined;
  /** Takes as many of the bytes as there is room for, and returns how many. @throws SysError EPIPE, ECONNRESET, ENOTCONN */
  send(bytes: Uint8Array): number;
  /** Tells the peer that nothing more comes; receiving goes on. */
  endWriting(): void;
  /** Ends it both ways; what was sent still arrives. A second time does nothing. */
  close(): void;
  /** Ends it at once: the peer gets a reset, and nothing stays behind here. */
  abort(): void;
}

export interface AcceptedTcpStream extends TcpStream {
  readonly peer: IpEndpoint;
}

export interface TcpListener {
  /** What a poller waits on: readable when a connection waits. */
  readonly fd: number;
  /** Where it listens, with the port that the kernel chose if that was left to it. */
  readonly endpoint: IpEndpoint;
  /** The next connection, undefined when none waits. @throws SysError EMFILE, ENFILE, ENOBUFS, ENOMEM: the connection waits on */
  accept(): AcceptedTcpStream | undefined;
  /** Ends it; a second time does nothing. */
  close(): void;
}

/**
 * Listens on an address and a port, even if connections of an earlier process on it are still dying. IPv6 is IPv6 only.
 * `backlog` is how many connections wait at most.
 * @throws SysError EADDRINUSE, EADDRNOTAVAIL
 */
export function listenTcp(at: IpEndpoint & { readonly backlog: number }): TcpListener {
  const fd = openIpDescriptor(at.address, "tcp");
  let endpoint: IpEndpoint;
  try {
    setReuseAddress(fd);
    bindIp(fd, at);
    listenIp(fd, at.backlog);
    endpoint = localEndpoint(fd);
  } catch (error) {
    close(fd);
    throw error;
  }
  let isOpen = true;
  return {
    fd,
    endpoint,
    accept() {
      if (!isOpen) throw new SysError({ code: "EBADF", syscall: "accept4" });
      const accepted = acceptIp(fd);
      return accepted === undefined ? undefined : Object.assign(streamOn(accepted.fd), { peer: accepted.peer });
    },
    close() {
      if (isOpen) close(fd);
      isOpen = false;
    },
  };
}

/** Begins to connect. @throws SysError what the kernel knows at once (ENETUNREACH, EADDRNOTAVAIL, EMFILE), or ECONNREFUSED from this host */
export function connectTcp(to: IpEndpoint): TcpStream {
  const fd = openIpDescriptor(to.address, "tcp");
  try {
    connectIp(fd, to);
  } catch (error) {
    close(fd);
    throw error;
  }
  return streamOn(fd);
}

function streamOn(fd: number): TcpStream {
  let isOpen = true;
  const mustBeOpen = (syscall: string): void => {
    if (!isOpen) throw new SysError({ code: "EBADF", syscall });
  };
  const end = (): void => {
    if (isOpen) close(fd);
    isOpen = false;
  };
  return {
    fd,
    connected() {
      mustBeOpen("getsockopt");
      return connectionState(fd);
    },
    receive(buffer) {
      mustBeOpen("recv");
      return receive(fd, buffer);
    },
    send(bytes) {
      mustBeOpen("send");
      return sendSome(fd, bytes);
    },
    endWriting() {
      mustBeOpen("shutdown");
      shutdownWriting(fd);
    },
    close: end,
    abort() {
      if (isOpen) setResetOnClose(fd);
      end();
    },
  };
}
