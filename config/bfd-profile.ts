/** Reads BFDProfile resources: the timers and modes of a BFD session (RFC 5880). */
import { fieldOf, readBoolean, readInteger, readObject, type Field, type FieldErrors } from "./field-errors.ts";

/** Validated parameters of a session; a user's omissions have become the defaults. All intervals in milliseconds. */
export interface BfdProfile {
  readonly name: string;
  readonly receiveIntervalMs: number;
  readonly transmitIntervalMs: number;
  readonly echoIntervalMs: number;
  readonly detectMultiplier: number;
  readonly echoMode: boolean;
  readonly passiveMode: boolean;
  /** Lowest TTL taken from a peer several hops away. */
  readonly minimumTtl: number;
}

interface Bounds {
  readonly min: number;
  readonly max: number;
  readonly absent: number;
}

const INTERVAL = { min: 10, max: 60_000 };
const RECEIVE: Bounds = { ...INTERVAL, absent: 300 };
const TRANSMIT: Bounds = { ...INTERVAL, absent: 300 };
const ECHO: Bounds = { ...INTERVAL, absent: 50 };
const MULTIPLIER: Bounds = { min: 2, max: 255, absent: 3 };
const TTL: Bounds = { min: 1, max: 254, absent: 254 };

/** Reads the spec of a profile; what is wrong goes to `errors`, and its default takes its place. */
export function readBfdProfile(object: { readonly name: string; readonly spec: unknown }, errors: FieldErrors): BfdProfile {
  const field: Field = { value: object.spec, path: "spec", errors };
  const spec = readObject(field) ?? {};
  const number = (name: string, bounds: Bounds): number => readBounded(fieldOf(spec, name, field), bounds);
  return {
    name: object.name,
    receiveIntervalMs: number("receiveInterval", RECEIVE),
    transmitIntervalMs: number("transmitInterval", TRANSMIT),
    echoIntervalMs: number("echoInterval", ECHO),
    detectMultiplier: number("detectMultiplier", MULTIPLIER),
    echoMode: readBoolean(fieldOf(spec, "echoMode", field), false),
    passiveMode: readBoolean(fieldOf(spec, "passiveMode", field), false),
    minimumTtl: number("minimumTtl", TTL),
  };
}

function readBounded(field: Field, { min, max, absent }: Bounds): number {
  const value = readInteger(field);
  if (value === undefined) return absent;
  if (value >= min && value <= max) return value;
  field.errors.add(field.path, `must be from ${min} to ${max}, not ${value}`);
  return absent;
}
