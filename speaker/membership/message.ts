/**
 * The messages of memberlist's protocol (SWIM with Lifeguard), as values. What they look like on the wire is in
 * `packet-codec.ts` and `stream-codec.ts`. Names are memberlist's, in our spelling.
 */

/** Address and port of a member's sockets (UDP and TCP alike). `address` is canonical text, RFC 5952. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** memberlist's protocol versions: [protocolMin, protocolMax, protocolCurrent, delegateMin, delegateMax, delegateCurrent], a byte each. */
export type ProtocolVersions = Uint8Array;

/** What members say about a member. `incarnation` only ever grows, and only the member itself raises it: 32 bits. */
export interface AliveMessage {
  readonly kind: "alive";
  readonly node: string;
  readonly endpoint: Endpoint;
  readonly incarnation: number;
  /** The application's bytes, at most 512. */
  readonly meta: Uint8Array;
  readonly versions: ProtocolVersions;
}

/** `from` says who suspects. */
export interface SuspectMessage {
  readonly kind: "suspect";
  readonly node: string;
  readonly incarnation: number;
  readonly from: string;
}

/** `from` says who declares it dead; equal to `node` when the member left by itself. */
export interface DeadMessage {
  readonly kind: "dead";
  readonly node: string;
  readonly incarnation: number;
  readonly from: string;
}

/** Are you there? `node` is the name asked for: a member of another name must not answer. */
export interface PingMessage {
  readonly kind: "ping";
  readonly sequence: number;
  readonly node: string;
  /** Where the question comes from; absent from old senders. */
  readonly source: Endpoint | undefined;
  readonly sourceNode: string;
}

/** Ask `target` for me. With `nack`, say after the probe timeout that it did not answer. */
export interface IndirectPingMessage {
  readonly kind: "indirectPing";
  readonly sequence: number;
  readonly node: string;
  readonly target: Endpoint;
  readonly nack: boolean;
  readonly source: Endpoint | undefined;
  readonly sourceNode: string;
}

export interface AckMessage {
  readonly kind: "ack";
  readonly sequence: number;
  readonly payload: Uint8Array;
}

export interface NackMessage {
  readonly kind: "nack";
  readonly sequence: number;
}

/** Bytes of the application: not gossiped further. Herald's own messages travel in these, to Herald members only. */
export interface UserMessage {
  readonly kind: "user";
  readonly bytes: Uint8Array;
}

/** One member in a push-pull. `state`: 0 alive, 1 suspect, 2 dead, 3 left, as memberlist numbers them. */
export interface PushPullState {
  readonly node: string;
  readonly endpoint: Endpoint;
  readonly incarnation: number;
  readonly state: "alive" | "suspect" | "dead" | "left";
  readonly meta: Uint8Array;
  readonly versions: ProtocolVersions;
}

/** The whole list of members, both ways over one stream. `userState` is the application's, empty here. */
export interface PushPullMessage {
  readonly kind: "pushPull";
  readonly join: boolean;
  readonly states: readonly PushPullState[];
  readonly userState: Uint8Array;
}

/** What the other side could not do with our stream. */
export interface ErrorMessage {
  readonly kind: "error";
  readonly text: string;
}

/** What may come in a datagram (compound, compressed, checksummed and encrypted frames taken apart). */
export type PacketMessage = PingMessage | IndirectPingMessage | AckMessage | NackMessage | AliveMessage | SuspectMessage | DeadMessage | UserMessage;
/** What may come over a stream. */
export type StreamMessage = PushPullMessage | PingMessage | AckMessage | UserMessage | ErrorMessage;
