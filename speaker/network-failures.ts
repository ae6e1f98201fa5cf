/**
 * What becomes of an error that the operating system gave: those that the network or a peer can cause are counted by
 * reason, what is unusual is warned of once, and a mistake of our own goes on as an exception.
 */

import { SysError } from "../sys/sys-error.ts";

/** Errors that say "the interface has gone or is down": netlink tells the rest. */
const INTERFACE_DOWN: readonly string[] = ["ENETDOWN", "ENXIO", "ENODEV"];
/** Errors that say "not now". */
const QUEUE_FULL: readonly string[] = ["ENOBUFS", "EAGAIN", "ENOMEM"];
/** Errors that say "no way there". */
const UNREACHABLE: readonly string[] = ["EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "EADDRNOTAVAIL"];
/** Errors that say "the other side will not": usual while processes come and go. */
const PEER_GONE: readonly string[] = ["ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "EPIPE", "ETIMEDOUT"];
/** Errors that no peer and no network can cause: a mistake of ours, which must not go on. */
const OUR_MISTAKE: readonly string[] = ["EBADF", "ENOTSOCK", "EFAULT", "ENOSYS"];

export interface NetworkFailuresPorts {
  /** Counts something that was left out. */
  dropped(reason: string): void;
  warn(event: string, fields: Readonly<Record<string, string | number>>): void;
}

export class NetworkFailures {
  readonly #ports: NetworkFailuresPorts;
  /** Event and error code of the warnings given: as many as there are calls and the OS has codes. */
  readonly #warnedOf = new Set<string>();

  constructor(ports: NetworkFailuresPorts) {
    this.#ports = ports;
  }

  /**
   * Counts what the network did to `what` ("datagramSend"), as `datagramSendInterfaceDown`, `...QueueFull`,
   * `...Unreachable`, `...PeerGone` or `...Failed`, and warns of the last once for each code. Returns the error.
   * @throws whatever is no fault of the network
   */
  record(error: unknown, what: string): SysError {
    if (!(error instanceof SysError) || OUR_MISTAKE.includes(error.code)) throw error;
    const kind = kindOf(error.code);
    this.#ports.dropped(`${what}${kind}`);
    if (kind === "Failed" && !this.#warnedOf.has(`${what} ${error.code}`)) {
      this.#warnedOf.add(`${what} ${error.code}`);
      this.#ports.warn(`${what}Failed`, { code: error.code, syscall: error.syscall });
    }
    return error;
  }
}

/** The device has gone, or is down. */
export function isInterfaceDown({ code }: SysError): boolean {
  return INTERFACE_DOWN.includes(code);
}

function kindOf(code: string): "InterfaceDown" | "QueueFull" | "Unreachable" | "PeerGone" | "Failed" {
  if (INTERFACE_DOWN.includes(code)) return "InterfaceDown";
  if (QUEUE_FULL.includes(code)) return "QueueFull";
  if (UNREACHABLE.includes(code)) return "Unreachable";
  return PEER_GONE.includes(code) ? "PeerGone" : "Failed";
}
