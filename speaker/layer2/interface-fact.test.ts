import { expect, test } from "vitest";

import { parseMacAddress, ZERO_MAC } from "../../wire/mac-address.ts";
import { interfaceFacts, MAX_ANNOUNCING_INTERFACES } from "./interface-fact.ts";
import type { LinkState } from "./interface-fact.ts";

const good: LinkState = { index: 2, name: "eth0", up: true, carrier: true, broadcast: true, noArp: false, mac: parseMacAddress("02:00:00:00:00:0a") };
const { mac: _mac, ...withoutMac } = good;

test.each<[string | undefined, LinkState]>([
  [undefined, good],
  ["down", { ...good, up: false, carrier: false }],
  ["noCarrier", { ...good, carrier: false }],
  ["enslaved", { ...good, master: 7 }],
  ["noArp", { ...good, noArp: true }],
  ["noBroadcast", { ...good, broadcast: false }],
  ["noMac", withoutMac],
  ["noMac", { ...good, mac: ZERO_MAC }],
  ["excluded", { ...good, name: "veth7", up: false }],
])("reason %s", (reason, link) => {
  const [fact] = interfaceFacts([link], [/^lo$/, /veth/]);
  expect(fact?.reason).toBe(reason);
  expect(fact?.usable).toBe(reason === undefined);
});

test("no more interfaces announce than there may be sockets", () => {
  const links = Array.from({ length: MAX_ANNOUNCING_INTERFACES + 1 }, (_, index) => ({ ...good, index: index + 1, name: `eth${index}` }));
  const facts = interfaceFacts(links, []);
  expect(facts.filter(({ usable }) => usable)).toHaveLength(MAX_ANNOUNCING_INTERFACES);
  expect(facts.at(-1)?.reason).toBe("tooMany");
});
