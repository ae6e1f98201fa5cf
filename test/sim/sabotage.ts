/**
 * Canaries: the machine under test broken on purpose, from outside, in one way each. The rule that this offends must
 * find it out; a simulation in which a canary lives proves nothing.
 */

import { decodeHeraldMessage } from "../../speaker/agreement/herald-message.ts";
import type { AgreementInput, AgreementOutput } from "../../speaker/agreement/agreement-protocol.ts";
import { MessageType } from "../../speaker/membership/message-codec.ts";
import { decodePacket, encodePacket } from "../../speaker/membership/packet-codec.ts";
import { CLEAR_KEYRING } from "../../speaker/membership/keyring.ts";
import type { MachineFactory } from "./cluster.ts";
import { machines } from "./machines.ts";
import { SEGMENT_INTERFACE } from "./network.ts";
import type { AgreementMachine } from "./node.ts";
import { lastOfTwo } from "./scenarios/deaths.ts";
import { cutOff } from "./scenarios/terms.ts";

export interface Canary {
  readonly name: string;
  /** What is broken, for the reader. */
  readonly broken: string;
  /** The rule that must find it out. */
  readonly rule: string;
  /** Name of the scenario in which that must happen, instead of random seeds. */
  readonly scenario?: string;
  readonly machine: MachineFactory;
}

type Wrap = (handle: (input: AgreementInput) => AgreementOutput[], input: AgreementInput) => AgreementOutput[];

/** A machine whose inputs and outputs pass through `wrap`. */
function wrapped(machine: AgreementMachine, wrap: Wrap): AgreementMachine {
  return {
    handle: (input, now) => wrap((inner) => machine.handle(inner, now), input),
    nextTimeout: () => machine.nextTimeout(),
  };
}

function agreement(...[options, random, wallMs]: Parameters<MachineFactory>): AgreementMachine {
  const factory = machines["agreement"];
  if (factory === undefined) throw new Error("no agreement");
  return factory(options, random, wallMs);
}

/** The output without the claims in it; undefined when nothing else was. */
function withoutClaims(output: AgreementOutput): AgreementOutput | undefined {
  if (output.kind === "streamSend" && output.bytes[0] === MessageType.user) return { ...output, bytes: new Uint8Array(0) };
  if (output.kind !== "datagram") return output;
  const messages = decodePacket(output.bytes, CLEAR_KEYRING).filter((message) => message.kind !== "user" || decodeHeraldMessage(message.bytes).body.kind !== "update");
  return messages.length === 0 ? undefined : { ...output, bytes: encodePacket(messages, CLEAR_KEYRING, { next: () => 0 }) };
}

export const canaries: readonly Canary[] = [
  {
    name: "naive",
    broken: "the first candidate that was heard lately owns, without claims, questions or hearing",
    rule: "who hears nothing takes nothing",
    machine: machines["naive"] ?? agreement,
  },
  {
    name: "claims",
    broken: "claims never reach anybody",
    rule: "no two owners that hear each other",
    machine: (options, random, wallMs) =>
      wrapped(agreement(options, random, wallMs), (handle, input) => handle(input).flatMap((output) => withoutClaims(output) ?? [])),
  },
  {
    name: "tables",
    broken: "no node ever learns that its table is complete, so that nobody owns anything",
    rule: "one owner",
    machine: (options, random, wallMs) => wrapped(agreement(options, random, wallMs), (handle, input) => (input.kind === "ready" ? [] : handle(input))),
  },
  {
    name: "terms",
    broken: "terms start at 1 whenever nobody remembers higher ones",
    rule: "terms and incarnations only grow",
    machine: (options, random) => agreement(options, random, () => 0),
  },
  {
    name: "incarnations",
    broken: "each start takes place an hour before the one before",
    rule: "terms and incarnations only grow",
    machine: (options, random, wallMs) => agreement({ ...options, bootUnixMs: 3.6e12 - options.bootUnixMs }, random, wallMs),
  },
  {
    name: "suspicion",
    broken: "silence of 60 ms is death, whatever the kernel says",
    rule: "a short pause moves nothing",
    machine: (options, random, wallMs) => {
      const profile = { ...options.profile, beatIntervalMs: 30, askAfterMs: 35, powerOffAfterMs: 60, kernelSilentForMs: 0, pausedAfterMs: 60 };
      return agreement({ ...options, profile }, random, wallMs);
    },
  },
  {
    name: "hearing",
    broken: "nodes believe to hear frames and their gateway all the time",
    rule: "who hears nothing takes nothing",
    machine: (options, random, wallMs) =>
      wrapped(agreement(options, random, wallMs), (handle, input) => {
        if (input.kind === "gateway") return handle({ kind: "gateway", heard: true });
        if (input.kind !== "timeout") return handle(input);
        return [...handle(input), ...handle({ kind: "frame", interfaceIndex: SEGMENT_INTERFACE })];
      }),
  },
  {
    name: "living witnesses",
    broken: "only members that live are asked whether the segment is heard",
    rule: lastOfTwo.name,
    scenario: lastOfTwo.name,
    machine: (options, random, wallMs) => {
      const living = new Set<string>();
      return wrapped(agreement(options, random, wallMs), (handle, input) =>
        handle(input).map((output) => {
          if (output.kind === "member" && (output.state === "alive" || output.state === "suspect")) living.add(output.endpoint.address);
          else if (output.kind === "member") living.delete(output.endpoint.address);
          return output.kind === "askSegment" ? { ...output, addresses: output.addresses.filter((address) => living.has(address)) } : output;
        }),
      );
    },
  },
  {
    name: "returners first",
    broken: "whoever was away and is back gets everything",
    rule: "a flapping link moves only its node's addresses",
    scenario: cutOff.name,
    machine: machines["returnersFirst"] ?? agreement,
  },
];
