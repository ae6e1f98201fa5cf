import fc from "fast-check";
import { describe, expect, test } from "vitest";

import { seededRandom } from "../../sys/random.ts";
import { OUR_VERSIONS } from "./context.ts";
import { CLEAR_KEYRING, keyringOf } from "./keyring.ts";
import { Membership } from "./membership.ts";
import { LAN_TIMING } from "./membership-protocol.ts";
import type { MembershipInput } from "./membership-protocol.ts";
import type { PacketMessage, PushPullState } from "./message.ts";
import { encodePacket } from "./packet-codec.ts";
import { encodeStreamMessage } from "./stream-codec.ts";
import { PORT, ToyNetwork } from "./toy-network.ts";

const SELF = "node-1";
const node = fc.constantFrom(SELF, "node-2", "node-3", "node-4");
const endpoint = fc.record({ address: fc.constantFrom("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::4"), port: fc.constantFrom(PORT, 7000) });
const incarnation = fc.oneof(fc.integer({ min: 0, max: 20 }), fc.constantFrom(0xffff_fffe, 0xffff_ffff));
const meta = fc.uint8Array({ maxLength: 4 });
const versions = fc.constantFrom(OUR_VERSIONS, Uint8Array.of(1, 5, 2, 0, 0, 0), Uint8Array.of(3, 5, 4, 0, 0, 0), new Uint8Array());
const sequence = fc.integer({ min: 0, max: 0xffff_ffff });

const packetMessage: fc.Arbitrary<PacketMessage> = fc.oneof(
  fc.record({ kind: fc.constant("alive" as const), node, endpoint, incarnation, meta, versions }),
  fc.record({ kind: fc.constant("suspect" as const), node, incarnation, from: node }),
  fc.record({ kind: fc.constant("dead" as const), node, incarnation, from: node }),
  fc.record({ kind: fc.constant("ping" as const), sequence, node, source: fc.option(endpoint, { nil: undefined }), sourceNode: node }),
  fc.record({ kind: fc.constant("indirectPing" as const), sequence, node, target: endpoint, nack: fc.boolean(), source: fc.option(endpoint, { nil: undefined }), sourceNode: node }),
  fc.record({ kind: fc.constant("ack" as const), sequence, payload: meta }),
  fc.record({ kind: fc.constant("nack" as const), sequence }),
  fc.record({ kind: fc.constant("user" as const), bytes: meta }),
);

const pushPullState: fc.Arbitrary<PushPullState> = fc.record({ node, endpoint, incarnation, state: fc.constantFrom("alive" as const, "suspect" as const, "dead" as const, "left" as const), meta, versions });

const random = seededRandom(3);
const datagram = fc
  .tuple(fc.array(packetMessage, { minLength: 1, maxLength: 6 }), endpoint)
  .map(([messages, from]): MembershipInput => ({ kind: "datagram", from, bytes: encodePacket(messages, CLEAR_KEYRING, random) }));
const streamNumber = fc.integer({ min: 1, max: 8 });
const streamBytes = fc.oneof(
  fc.array(pushPullState, { maxLength: 8 }).map((states) => encodeStreamMessage({ kind: "pushPull", join: true, states, userState: new Uint8Array() }, CLEAR_KEYRING, random)),
  fc.uint8Array({ maxLength: 40 }),
);

const input: fc.Arbitrary<MembershipInput> = fc.oneof(
  { weight: 8, arbitrary: datagram },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("datagram" as const), from: endpoint, bytes: fc.uint8Array({ maxLength: 60 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("streamAccepted" as const), stream: streamNumber.map((number) => 2 * number - 1), from: endpoint }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("streamConnected" as const), stream: streamNumber }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("streamBytes" as const), stream: streamNumber, bytes: streamBytes }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("streamEnded" as const), stream: streamNumber }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("streamFailed" as const), stream: streamNumber, reason: fc.constant("connectionReset") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("expected" as const), peers: fc.array(fc.record({ node, address: endpoint.map(({ address }) => address) }), { maxLength: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("send" as const), to: node, bytes: meta, reliable: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("woke" as const), lagMs: fc.constant(200) }) },
  { weight: 6, arbitrary: fc.constant({ kind: "timeout" as const }) },
);

const history = fc.array(fc.record({ input, afterMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3_000 })) }), { maxLength: 60 });

function newMembership(seed: number): Membership {
  return new Membership({ node: SELF, endpoint: { address: "192.0.2.1", port: PORT }, keyring: CLEAR_KEYRING, incarnation: 10, meta: Uint8Array.of(1), timing: LAN_TIMING }, seededRandom(seed));
}

describe("whatever comes, in whatever order", () => {
  test("no incarnation goes back while its member is known, and what is told is what is believed", () => {
    fc.assert(
      fc.property(history, fc.integer(), (steps, seed) => {
        const machine = newMembership(seed);
        const known = new Map<string, number>();
        let ownIncarnation = 10;
        let now = 0;
        for (const { input, afterMs } of steps) {
          now += afterMs;
          for (const output of machine.handle(input, now)) {
            if (output.kind !== "member") continue;
            expect(output.member.node).not.toBe(SELF);
            if (output.before !== undefined) expect(output.member.incarnation).toBeGreaterThanOrEqual(known.get(output.member.node) ?? 0);
            known.set(output.member.node, output.member.incarnation);
          }
          const members = machine.members();
          for (const member of members) expect(member.incarnation).toBe(known.get(member.node));
          for (const name of known.keys()) if (!members.some(({ node }) => node === name)) known.delete(name);
          expect(machine.snapshot().incarnation).toBeGreaterThanOrEqual(ownIncarnation);
          ownIncarnation = machine.snapshot().incarnation;
        }
      }),
      { numRuns: 300 },
    );
  });

  test("after all deadlines that are due, the next one lies ahead", () => {
    fc.assert(
      fc.property(history, fc.integer(), (steps, seed) => {
        const machine = newMembership(seed);
        let now = 0;
        for (const { input, afterMs } of steps) {
          now += afterMs;
          machine.handle(input, now);
          machine.handle({ kind: "timeout" }, now);
          machine.handle({ kind: "timeout" }, now);
          expect(machine.nextTimeout()).toBeGreaterThan(now);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("the same inputs and the same seed give the same outputs", () => {
    fc.assert(
      fc.property(history, fc.integer(), (steps, seed) => {
        const run = (): unknown[] => {
          const machine = newMembership(seed);
          let now = 0;
          return steps.map(({ input, afterMs }) => {
            now += afterMs;
            return machine.handle(input, now);
          });
        };
        expect(run()).toEqual(run());
      }),
      { numRuns: 50 },
    );
  });
});

test("nobody is dead before its suspicion ran out, whatever is lost", () => {
  const minimumMs = LAN_TIMING.suspicionMult * LAN_TIMING.probeIntervalMs;
  fc.assert(
    fc.property(fc.integer(), fc.double({ min: 0, max: 0.6, noNaN: true }), (seed, loss) => {
      const dice = seededRandom(seed);
      const network = new ToyNetwork(seededRandom(seed + 1));
      for (let number = 1; number <= 5; number += 1) network.start(`node-${number}`, { keyring: keyringOf("secret") });
      network.expectAll();
      network.lose(() => dice.next() < loss);
      network.run(10_000);
      network.stop("node-5");
      network.run(40_000);
      // Somebody must have suspected a member for the full time before the first one calls it dead.
      const suspectedAt = new Map<string, number>();
      for (const { at, member } of network.heard("member")) {
        if (member.state === "suspect" && !suspectedAt.has(`${member.node} ${member.incarnation}`)) suspectedAt.set(`${member.node} ${member.incarnation}`, at);
        if (member.state === "dead") expect(at - (suspectedAt.get(`${member.node} ${member.incarnation}`) ?? at)).toBeGreaterThanOrEqual(minimumMs);
      }
      expect(network.heard("member").some(({ member }) => member.node === "node-5" && member.state === "dead")).toBe(true);
    }),
    { numRuns: 15 },
  );
});
