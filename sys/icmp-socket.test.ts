import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { makeVethPair, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import { FakeIcmpNetwork } from "./icmp-socket-fake.ts";
import { openIcmpSocket } from "./icmp-socket.ts";
import type { EchoReply, IcmpSocket } from "./icmp-socket.ts";
import { inNetworkNamespace } from "./network-namespace.ts";
import { createPoller } from "./poll.ts";

/** Two hosts on one segment, of which one is asked. */
interface Subject {
  /** Two programs on the same host, with identifiers of their own. */
  readonly first: IcmpSocket;
  readonly second: IcmpSocket;
  /** Makes the other host deaf. */
  silence(): void;
  close(): void;
}

function next(socket: IcmpSocket): EchoReply | undefined {
  for (let tries = 0; tries < 20; tries++) {
    const reply = socket.receive();
    if (reply !== undefined || socket.fd < 0) return reply;
    const poller = createPoller();
    poller.add(socket.fd);
    poller.wait(10);
  }
  return undefined;
}

/** Asks until a reply comes: a cable that was just plugged in loses what comes first. Nothing of it is left behind. */
function warmUp(socket: IcmpSocket, address: string): void {
  const end = performance.now() + 10_000;
  do socket.send({ address, sequence: 100 });
  while (next(socket) === undefined && performance.now() < end);
  socket.send({ address, sequence: 101 });
  while (next(socket)?.sequence !== 101) if (performance.now() > end) throw new Error("the cable stays dead");
}

function suite(open: () => Subject, address: string, other: string): void {
  let subject: Subject;
  beforeEach(() => {
    subject = open();
  });
  afterEach(() => subject.close());

  test("a host replies with the sequence it was asked with", () => {
    subject.first.send({ address, sequence: 1 });
    subject.first.send({ address, sequence: 0xffff });
    expect([next(subject.first), next(subject.first)]).toEqual([{ address, sequence: 1 }, { address, sequence: 0xffff }]);
    expect(next(subject.first)).toBeUndefined();
  });

  test("replies to others on this host do not arrive", () => {
    subject.second.send({ address, sequence: 7 });
    expect(next(subject.second)).toEqual({ address, sequence: 7 });
    expect(subject.first.receive()).toBeUndefined();
  });

  test("a host that is silent does not reply", () => {
    subject.silence();
    subject.first.send({ address, sequence: 1 });
    expect(next(subject.first)).toBeUndefined();
  });

  test("an address of the other family is refused", () => {
    expect(() => subject.first.send({ address: other, sequence: 1 })).toThrow("EAFNOSUPPORT");
  });

  test("a closed one refuses to work, and closing again does nothing", () => {
    subject.first.close();
    subject.first.close();
    expect(() => subject.first.send({ address, sequence: 1 })).toThrow("EBADF");
    expect(() => subject.first.receive()).toThrow("EBADF");
  });
}

const families = [
  { family: "IPv4", from: "10.9.0.1", to: "10.9.0.2", length: "24", other: "fd00::2" },
  { family: "IPv6", from: "fd09::1", to: "fd09::2", length: "64", other: "10.9.0.2" },
];

describe.each(families)("ICMP socket, fake, $family", ({ from, to, other }) => {
  suite(
    () => {
      const network = new FakeIcmpNetwork();
      network.setAnswering(to, true);
      const open = (identifier: number): IcmpSocket => network.open({ address: from, identifier });
      return { first: open(1), second: open(2), silence: () => network.setAnswering(to, false), close: () => {} };
    },
    to,
    other,
  );
});

const why = whyNoNamespaces();
describe.skipIf(why !== undefined).each(families)(`ICMP socket, real, $family${why === undefined ? "" : ` (${why})`}`, ({ from, to, length, other }) => {
  suite(
    () => {
      const pair = makeVethPair("icmp");
      for (const [namespace, address] of [[pair.client, from], [pair.speaker, to]] as const) {
        pair.ip(namespace, "address", "add", `${address}/${length}`, "dev", "eth0", ...(length === "64" ? ["nodad"] : []));
      }
      const open = (identifier: number): IcmpSocket => inNetworkNamespace(pair.client, () => openIcmpSocket({ address: from, identifier }));
      const [first, second] = [open(0xbeef), open(2)];
      warmUp(first, to);
      return {
        first,
        second,
        silence: () => pair.ip(pair.speaker, "address", "delete", `${to}/${length}`, "dev", "eth0"),
        close() {
          first.close();
          second.close();
          pair.remove();
        },
      };
    },
    to,
    other,
  );
});
