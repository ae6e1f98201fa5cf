/**
 * Reads BGPPeer resources, of v1beta2 and v1beta1 alike: every field of the former version has the same name and meaning in
 * the newer one. Timers follow RFC 4271 section 4.2 and 10.
 */
import { AddressError, formatIpAddress, parseIpAddress, type IpAddress } from "../wire/ip-address.ts";
import type { LabelSelector } from "./config.ts";
import { fieldOf, readBoolean, readInteger, readObject, readOptionalString, type Field, type FieldErrors, type JsonObject } from "./field-errors.ts";
import { parseGoDuration } from "./flags.ts";
import { readSelectors } from "./label-selector.ts";

/** Where the session goes: to an address, or to the one neighbour on an interface (an unnumbered session). */
export type BgpEndpoint = { readonly kind: "address"; readonly address: IpAddress } | { readonly kind: "interface"; readonly name: string };

/** The peer's number: known, or judged by its OPEN message ("internal": equal to ours, "external": any other). */
export type PeerAsn = number | "internal" | "external";

/** Password of the session (RFC 2385): as it is, or in a Secret of Herald's namespace. */
export type BgpPassword = { readonly kind: "text"; readonly text: string } | { readonly kind: "secret"; readonly name: string; readonly namespace: string | undefined };

/** A validated peer. Numbers of autonomous systems are 1 to 4294967295. */
export interface BgpPeer {
  readonly name: string;
  readonly myAsn: number;
  readonly peerAsn: PeerAsn;
  /** Shown to this peer instead of myAsn. */
  readonly localAsn: number | undefined;
  readonly endpoint: BgpEndpoint;
  readonly port: number;
  readonly sourceAddress: IpAddress | undefined;
  /** Our BGP Identifier towards this peer, an IPv4 address. */
  readonly routerId: IpAddress | undefined;
  /** 0, or at least 3; undefined when the user left both timers to us. */
  readonly holdTimeSeconds: number | undefined;
  /** Never more than holdTimeSeconds; undefined when the user left both timers to us. */
  readonly keepaliveTimeSeconds: number | undefined;
  readonly connectTimeSeconds: number | undefined;
  /** ORed; empty means every node. */
  readonly nodeSelectors: readonly LabelSelector[];
  readonly password: BgpPassword | undefined;
  readonly bfdProfile: string | undefined;
  readonly gracefulRestart: boolean;
  readonly ebgpMultiHop: boolean;
  readonly vrf: string | undefined;
  /** Both families over the session, whatever the family of its addresses. */
  readonly dualStackAddressFamily: boolean;
}

const MAX_ASN = 0xffff_ffff;
const MAX_PORT = 65_535;
const DEFAULT_PORT = 179;
/** HoldTime is two octets. RFC 4271 section 4.2. */
const MAX_SECONDS = 65_535;
const MIN_HOLD_SECONDS = 3;
/** Keepalives per HoldTime. RFC 4271 section 10. */
const KEEPALIVES_PER_HOLD = 3;
/** Longest name of an interface on Linux (IFNAMSIZ without its end mark). */
const MAX_INTERFACE_NAME = 15;
/** Longest key that Linux takes for TCP MD5, in bytes. */
const MAX_PASSWORD_BYTES = 80;

/** Reads the spec of a peer; what is wrong goes to `errors`. Undefined when nothing sensible is left. */
export function readBgpPeer(object: { readonly name: string; readonly spec: unknown }, errors: FieldErrors): BgpPeer | undefined {
  const specField: Field = { value: object.spec, path: "spec", errors };
  const spec = readObject(specField) ?? {};
  const field = (name: string): Field => fieldOf(spec, name, specField);
  const before = errors.list.length;
  const myAsn = readAsn(field("myASN"));
  if (myAsn === undefined && errors.list.length === before) errors.add("spec.myASN", "missing local ASN: must be from 1 to 4294967295");
  const peerAsn = readPeerAsn(spec, specField);
  const localAsn = readAsn(field("localASN"));
  const endpoint = readEndpoint(spec, specField);
  const ebgpMultiHop = readBoolean(field("ebgpMultiHop"), false);
  if (ebgpMultiHop && myAsn !== undefined && (peerAsn === myAsn || peerAsn === "internal")) errors.add("spec.ebgpMultiHop", "invalid for an iBGP peer: the peer's ASN is our own");
  const timers = readTimers(field("holdTime"), field("keepaliveTime"));
  const rest = {
    port: readPort(field("peerPort")),
    sourceAddress: readAddress(field("sourceAddress"), "invalid source IP"),
    routerId: readRouterId(field("routerID")),
    connectTimeSeconds: readConnectTime(field("connectTime")),
    nodeSelectors: readSelectors(field("nodeSelectors"), "nodeSelectors"),
    password: readPassword(spec, specField),
    bfdProfile: readOptionalString(field("bfdProfile")),
    gracefulRestart: readBoolean(field("enableGracefulRestart"), false),
    vrf: readInterfaceName(field("vrf"), "VRF"),
    dualStackAddressFamily: readBoolean(field("dualStackAddressFamily"), false),
  };
  if (myAsn === undefined || peerAsn === undefined || endpoint === undefined) return undefined;
  return { name: object.name, myAsn, peerAsn, localAsn, endpoint, ebgpMultiHop, ...timers, ...rest };
}

/** A number from 1 on; undefined when absent or 0, and when it is no such number (then an error is noted). */
function readAsn(field: Field): number | undefined {
  const asn = readInteger(field);
  if (asn === undefined || asn === 0) return undefined;
  if (asn > 0 && asn <= MAX_ASN) return asn;
  field.errors.add(field.path, `must be from 1 to ${MAX_ASN}, not ${asn}`);
  return undefined;
}

function readPeerAsn(spec: JsonObject, parent: Field): PeerAsn | undefined {
  const dynamicField = fieldOf(spec, "dynamicASN", parent);
  const before = parent.errors.list.length;
  const number = readAsn(fieldOf(spec, "peerASN", parent));
  const dynamic = readOptionalString(dynamicField);
  if (parent.errors.list.length > before) return undefined;
  if (dynamic !== undefined && dynamic !== "internal" && dynamic !== "external") {
    parent.errors.add(dynamicField.path, `must be internal or external, not ${JSON.stringify(dynamic)}`);
    return undefined;
  }
  if (number !== undefined && dynamic !== undefined) parent.errors.add(dynamicField.path, "peerASN and dynamicASN exclude each other: both are set");
  else if (number === undefined && dynamic === undefined) parent.errors.add("spec.peerASN", "missing peer ASN: exactly one of peerASN and dynamicASN must be set");
  else return number ?? dynamic;
  return undefined;
}

function readEndpoint(spec: JsonObject, parent: Field): BgpEndpoint | undefined {
  const addressField = fieldOf(spec, "peerAddress", parent);
  const before = parent.errors.list.length;
  const address = readAddress(addressField, "invalid BGPPeer address");
  const name = readInterfaceName(fieldOf(spec, "interface", parent), "interface");
  if (parent.errors.list.length > before) return undefined;
  if (address !== undefined && name !== undefined) parent.errors.add("spec.interface", "peerAddress and interface exclude each other: both are set");
  else if (address !== undefined) return { kind: "address", address };
  else if (name !== undefined) return { kind: "interface", name };
  else parent.errors.add(addressField.path, "exactly one of peerAddress and interface must be set");
  return undefined;
}

function readAddress(field: Field, what: string): IpAddress | undefined {
  const text = readOptionalString(field);
  if (text === undefined) return undefined;
  try {
    return parseIpAddress(text);
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    field.errors.add(field.path, `${what} ${JSON.stringify(text)}`);
    return undefined;
  }
}

function readRouterId(field: Field): IpAddress | undefined {
  const address = readAddress(field, "invalid router ID");
  if (address === undefined || (address.family === "IPv4" && address.value !== 0n)) return address;
  field.errors.add(field.path, `invalid router ID ${JSON.stringify(formatIpAddress(address))}: must be an IPv4 address other than 0.0.0.0`);
  return undefined;
}

function readInterfaceName(field: Field, what: string): string | undefined {
  const name = readOptionalString(field);
  if (name === undefined || (name.length <= MAX_INTERFACE_NAME && !/[\s/:]/.test(name) && name !== "." && name !== "..")) return name;
  field.errors.add(field.path, `invalid ${what} ${JSON.stringify(name)}: no name that Linux gives to an interface`);
  return undefined;
}

function readPort(field: Field): number {
  const port = readInteger(field);
  if (port === undefined || port === 0) return DEFAULT_PORT;
  if (port > 0 && port <= MAX_PORT) return port;
  field.errors.add(field.path, `must be from 1 to ${MAX_PORT}, not ${port}`);
  return DEFAULT_PORT;
}

function readPassword(spec: JsonObject, parent: Field): BgpPassword | undefined {
  const field = fieldOf(spec, "password", parent);
  const text = readOptionalString(field);
  const secretField = fieldOf(spec, "passwordSecret", parent);
  const secret = readObject(secretField) ?? {};
  const name = readOptionalString(fieldOf(secret, "name", secretField));
  const namespace = readOptionalString(fieldOf(secret, "namespace", secretField));
  if (text !== undefined && name !== undefined) parent.errors.add(secretField.path, "password and passwordSecret exclude each other: both are set");
  if (text !== undefined && new TextEncoder().encode(text).length > MAX_PASSWORD_BYTES) parent.errors.add(field.path, `longer than the ${MAX_PASSWORD_BYTES} bytes that a TCP MD5 key may have`);
  if (name !== undefined) return { kind: "secret", name, namespace };
  return text === undefined ? undefined : { kind: "text", text };
}

interface Timers {
  readonly holdTimeSeconds: number | undefined;
  readonly keepaliveTimeSeconds: number | undefined;
}

/** Either timer decides the other; without both, both are left open. Parts of a second do not count. */
function readTimers(holdField: Field, keepaliveField: Field): Timers {
  const none = { holdTimeSeconds: undefined, keepaliveTimeSeconds: undefined };
  const before = holdField.errors.list.length;
  const givenHold = readSeconds(holdField);
  const givenKeepalive = readSeconds(keepaliveField);
  if (holdField.errors.list.length > before) return none;
  if (givenHold === undefined && givenKeepalive === undefined) return none;
  const hold = Math.trunc(givenHold ?? KEEPALIVES_PER_HOLD * (givenKeepalive ?? 0));
  const keepalive = givenKeepalive === undefined ? Math.trunc(hold / KEEPALIVES_PER_HOLD) : Math.trunc(givenKeepalive);
  const blamed = givenHold === undefined ? keepaliveField : holdField;
  if ((hold !== 0 && hold < MIN_HOLD_SECONDS) || hold > MAX_SECONDS) blamed.errors.add(blamed.path, `invalid hold time of ${hold} s: must be 0 or from ${MIN_HOLD_SECONDS} to ${MAX_SECONDS} s`);
  else if (keepalive > hold) keepaliveField.errors.add(keepaliveField.path, `invalid keepalive time of ${keepalive} s: must not exceed the hold time of ${hold} s`);
  else if (keepalive === 0 && (givenKeepalive ?? 0) > 0) keepaliveField.errors.add(keepaliveField.path, "invalid keepalive time: must be 0s or at least 1s");
  else return { holdTimeSeconds: hold, keepaliveTimeSeconds: keepalive };
  return none;
}

function readConnectTime(field: Field): number | undefined {
  const seconds = readSeconds(field);
  if (seconds === undefined || (Number.isInteger(seconds) && seconds >= 1 && seconds <= MAX_SECONDS)) return seconds;
  field.errors.add(field.path, `invalid connect time: must be a whole number of seconds from 1 to ${MAX_SECONDS}`);
  return undefined;
}

/** A duration as Go writes it, in seconds; undefined when absent or unreadable (then an error is noted). */
function readSeconds(field: Field): number | undefined {
  const text = readOptionalString(field);
  if (text === undefined) return undefined;
  const ms = parseGoDuration(text);
  if (ms !== undefined && ms >= 0) return ms / 1000;
  field.errors.add(field.path, `${JSON.stringify(text)} is not a duration such as 90s or 1m30s`);
  return undefined;
}
