/**
 * Reads what a node sends: the claims of its own that it makes known, and the incarnation that it gives itself. Uses the
 * production decoders, but only on what can carry either: most packets are heartbeats and pings.
 */

import { decodeHeraldMessage } from "../../speaker/agreement/herald-message.ts";
import type { ClaimEntry } from "../../speaker/election/claims-protocol.ts";
import { MessageType } from "../../speaker/membership/message-codec.ts";
import type { PacketMessage, StreamMessage } from "../../speaker/membership/message.ts";
import { decodePacket } from "../../speaker/membership/packet-codec.ts";
import { StreamDecoder } from "../../speaker/membership/stream-codec.ts";
import type { Keyring } from "../../speaker/membership/keyring.ts";

/** What a sender says of itself. */
export interface Said {
  /** With the version of the list that they belong to: steps are repeated, so that an old one may come after a new one. */
  readonly claims: readonly { readonly entry: ClaimEntry; readonly version: number; readonly boot: number }[];
  readonly incarnations: readonly number[];
}

const NOTHING: Said = { claims: [], incarnations: [] };
/** Offset of a Herald message's type, and the type of heartbeats. */
const HERALD_TYPE_AT = 2;
const HEARTBEAT = 0;

/** @param name the sender's, as member. @throws PacketError, DecodeError when a node sends what nobody can read */
export function listen({ name, bytes, isStream, keyring }: { readonly name: string; readonly bytes: Uint8Array; readonly isStream: boolean; readonly keyring: Keyring }): Said {
  if (isStream) return said(name, streamMessages(bytes, keyring));
  if (keyring.keys.length === 0 && isDull(bytes)) return NOTHING;
  return said(name, decodePacket(bytes, keyring));
}

function isDull(bytes: Uint8Array): boolean {
  switch (bytes[0]) {
    case MessageType.ping:
    case MessageType.indirectPing:
    case MessageType.ack:
    case MessageType.nack:
    case MessageType.suspect:
    case MessageType.dead:
      return true;
    case MessageType.user:
      return bytes[1 + HERALD_TYPE_AT] === HEARTBEAT;
    default:
      return false;
  }
}

/** A machine sends each message in one piece. */
function streamMessages(bytes: Uint8Array, keyring: Keyring): StreamMessage[] {
  const decoder = new StreamDecoder(keyring);
  decoder.push(bytes);
  const messages: StreamMessage[] = [];
  for (let message = decoder.next(); message !== undefined; message = decoder.next()) messages.push(message);
  return messages;
}

function said(name: string, messages: readonly (PacketMessage | StreamMessage)[]): Said {
  const claims: Said["claims"][number][] = [];
  const incarnations: number[] = [];
  for (const message of messages) {
    if (message.kind === "alive" && message.node === name) incarnations.push(message.incarnation);
    if (message.kind === "pushPull") for (const { node, incarnation } of message.states) if (node === name) incarnations.push(incarnation);
    if (message.kind !== "user") continue;
    const { body, sender, hops } = decodeHeraldMessage(message.bytes);
    if (body.kind === "update" && body.update.owner === name && sender === name && hops === 0) {
      const { entries, version, boot } = body.update;
      claims.push(...entries.map((entry) => ({ entry, version, boot })));
    }
  }
  return { claims, incarnations };
}
