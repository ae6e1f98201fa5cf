/** Whom a node vouches for: what others say of a death is then only a suspicion. */

import { expect, test } from "vitest";

import { Detection } from "./detection.ts";
import { PROFILES } from "./profiles.ts";

const PROFILE = PROFILES.default;

test("an observer vouches for its peer from the peer's first word to its first missed beat", () => {
  const detection = new Detection({ node: "a", profile: PROFILE });
  expect(detection.vouchesFor("b")).toBe(false);
  detection.handle({ kind: "peers", peers: [{ node: "b", address: "192.0.2.2" }] }, 0);
  expect(detection.vouchesFor("b")).toBe(false);
  detection.handle({ kind: "heard", node: "b", boot: 1 }, 10);
  expect(detection.vouchesFor("b")).toBe(true);
  detection.handle({ kind: "timeout" }, 11 + PROFILE.askAfterMs);
  expect(detection.vouchesFor("b")).toBe(false);
  detection.handle({ kind: "heard", node: "b", boot: 1 }, 500);
  expect(detection.vouchesFor("b")).toBe(true);
});

test("who does not observe a peer vouches for it until an observer reports it", () => {
  const members = Array.from({ length: 40 }, (_, index) => `node${index + 1}`);
  const [self = ""] = members;
  const detection = new Detection({ node: self, profile: PROFILE });
  detection.handle({ kind: "peers", peers: members.slice(1).map((node, index) => ({ node, address: `192.0.2.${index}` })) }, 0);
  const { observed } = detection.snapshot();
  const [stranger = "", witness = ""] = members.filter((node) => node !== self && !observed.includes(node));
  expect(detection.vouchesFor(stranger)).toBe(true);
  detection.handle({ kind: "report", from: witness, about: stranger, boot: 1, class: "silent" }, 10);
  expect(detection.vouchesFor(stranger)).toBe(false);
  expect(detection.vouchesFor("nobody")).toBe(false);
});
