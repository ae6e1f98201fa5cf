/**
 * The one way in which members' bytes fail.
 */

import { DecodeError } from "../../wire/decode-error.ts";
import type { MembershipDropReason } from "./membership-protocol.ts";

/** A datagram, a part of one, or a stream that is refused. `reason` is what the drop is counted under. */
export class PacketError extends DecodeError {
  readonly reason: MembershipDropReason;

  constructor(message: string, options: { readonly reason: MembershipDropReason; readonly offset?: number; readonly clause: string }) {
    super(message, { offset: options.offset ?? 0, clause: options.clause });
    this.reason = options.reason;
  }
}

/** The same failure as a PacketError: what is none yet is the end of the bytes in the middle of a field, hence `malformed`. Others are thrown on. */
export function asPacketError(error: unknown): PacketError {
  if (error instanceof PacketError) return error;
  if (!(error instanceof DecodeError)) throw error;
  return new PacketError(error.message, { reason: "malformed", offset: error.offset, clause: error.clause });
}
