import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { makeVethPair, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import { inNetworkNamespace } from "./network-namespace.ts";
import { createPoller } from "./poll.ts";
import { FakeUdpNetwork } from "./udp-socket-fake.ts";
import { openUdpSocket } from "./udp-socket.ts";
import type { UdpSocket } from "./udp-socket.ts";

/** Two hosts of one family on one segment. */
interface Subject {
  readonly a: UdpSocket;
  readonly b: UdpSocket;
  /** Opens another socket where `a` is. */
  openAtA(port: number): UdpSocket;
  close(): void;
}

/** The next datagram, for which a real socket may have to wait. */
function next(socket: UdpSocket, length = 2048): { readonly text: string; readonly from: string } | undefined {
  const buffer = new Uint8Array(length);
  for (let tries = 0; tries < 40; tries++) {
    const received = socket.receive(buffer);
    if (received !== undefined) return { text: new TextDecoder().decode(buffer.subarray(0, received.length)), from: `${received.address} ${received.port}` };
    if (socket.fd < 0) return undefined;
    const poller = createPoller();
    poller.add(socket.fd);
    poller.wait(5);
  }
  return undefined;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Sends until something arrives: a cable that was just plugged in loses what comes first. Nothing of it is left behind. */
function warmUp(a: UdpSocket, b: UdpSocket): void {
  const end = performance.now() + 10_000;
  do a.send(bytes("anybody there?"), b.endpoint);
  while (next(b) === undefined && performance.now() < end);
  a.send(bytes("warm"), b.endpoint);
  while (next(b)?.text !== "warm") if (performance.now() > end) throw new Error("the cable stays dead");
}

function suite(open: () => Subject, other: string): void {
  let subject: Subject;
  beforeEach(() => {
    subject = open();
  });
  afterEach(() => subject.close());

  test("a port that was left open is chosen", () => {
    expect(subject.a.endpoint.port).toBeGreaterThan(1023);
    expect(subject.a.endpoint.port).not.toBe(subject.openAtA(0).endpoint.port);
  });

  test("datagrams arrive whole and in order, with who sent them, and can be answered", () => {
    const { a, b } = subject;
    // From the middle of a larger array: its beginning must not be what is sent.
    a.send(bytes("--one").subarray(2), b.endpoint);
    a.send(bytes(""), b.endpoint);
    a.send(bytes("three"), b.endpoint);
    const from = `${a.endpoint.address} ${a.endpoint.port}`;
    expect([next(b), next(b), next(b)]).toEqual([{ text: "one", from }, { text: "", from }, { text: "three", from }]);
    expect(next(b)).toBeUndefined();
    b.send(bytes("back"), a.endpoint);
    expect(next(a)?.text).toBe("back");
  });

  test("one that is too long for the buffer is cut", () => {
    subject.a.send(bytes("abcdef"), subject.b.endpoint);
    expect(next(subject.b, 3)?.text).toBe("abc");
    expect(next(subject.b)).toBeUndefined();
  });

  test("what cannot be sent is refused, with the reason", () => {
    const { a, b } = subject;
    expect(() => a.send(new Uint8Array(70_000), b.endpoint)).toThrow("EMSGSIZE");
    expect(() => a.send(bytes("x"), { address: other, port: 7946 })).toThrow("EAFNOSUPPORT");
    expect(() => a.send(bytes("x"), { address: b.endpoint.address, port: 0 })).toThrow("EINVAL");
  });

  test("a port that is taken is refused", () => {
    expect(() => subject.openAtA(subject.a.endpoint.port)).toThrow("bind: EADDRINUSE");
  });

  test("a closed one refuses to work, and closing again does nothing", () => {
    subject.a.close();
    subject.a.close();
    expect(() => subject.a.send(bytes("x"), subject.b.endpoint)).toThrow("EBADF");
    expect(() => subject.a.receive(new Uint8Array(10))).toThrow("EBADF");
    subject.openAtA(subject.a.endpoint.port).close();
  });
}

const families = [
  { family: "IPv4", a: "10.9.0.1", b: "10.9.0.2", length: "24", other: "fd00::2" },
  { family: "IPv6", a: "fd09::1", b: "fd09::2", length: "64", other: "10.9.0.2" },
];

describe.each(families)("UDP socket, fake, $family", ({ a, b, other }) => {
  suite(() => {
    const network = new FakeUdpNetwork();
    return { a: network.open({ address: a, port: 0 }), b: network.open({ address: b, port: 0 }), openAtA: (port) => network.open({ address: a, port }), close: () => {} };
  }, other);
});

const why = whyNoNamespaces();
describe.skipIf(why !== undefined)(`UDP socket, real${why === undefined ? "" : ` (${why})`}`, () => {
  describe.each(families)("$family", ({ a: addressA, b: addressB, length, other }) => {
    suite(() => {
      const pair = makeVethPair("udp");
      pair.ip(pair.client, "address", "add", `${addressA}/${length}`, "dev", "eth0", ...(length === "64" ? ["nodad"] : []));
      pair.ip(pair.speaker, "address", "add", `${addressB}/${length}`, "dev", "eth0", ...(length === "64" ? ["nodad"] : []));
      const opened: UdpSocket[] = [];
      const openAt = (namespace: string, address: string, port: number): UdpSocket => {
        const socket = inNetworkNamespace(namespace, () => openUdpSocket({ address, port }));
        opened.push(socket);
        return socket;
      };
      const [a, b] = [openAt(pair.client, addressA, 0), openAt(pair.speaker, addressB, 0)];
      warmUp(a, b);
      return {
        a,
        b,
        openAtA: (port) => openAt(pair.client, addressA, port),
        close() {
          for (const socket of opened) socket.close();
          pair.remove();
        },
      };
    }, other);
  });

  test("an address that this host does not have is EADDRNOTAVAIL", () => {
    expect(() => openUdpSocket({ address: "192.0.2.77", port: 0 })).toThrow("bind: EADDRNOTAVAIL");
  });
});
