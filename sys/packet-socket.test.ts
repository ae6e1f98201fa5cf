import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { makeVethPair, openClient, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import { inNetworkNamespace } from "./network-namespace.ts";
import { acceptAllFilter, arpFilter, neighborMessageFilter, openArpSocket, openNdpSocket } from "./packet-socket.ts";
import type { PacketSocket } from "./packet-socket.ts";
import { FakeSegment } from "./packet-socket-fake.ts";
import { createPoller } from "./poll.ts";

/** A broadcast ARP request of 42 bytes, with a number to tell it by. */
function frame(mark: number, etherType = 0x0806): Uint8Array {
  const bytes = new Uint8Array(42);
  bytes.fill(0xff, 0, 6);
  bytes.set([2, 0, 0, 0, 0, 1], 6);
  bytes.set([etherType >> 8, etherType & 0xff, 0, 1, 8, 0, 6, 4, 0, 1], 12);
  bytes[41] = mark;
  return bytes;
}

/** With 802.1Q tag of a VLAN id. */
function tagged(vlan: number, mark: number): Uint8Array {
  const plain = frame(mark);
  return Uint8Array.of(...plain.subarray(0, 12), 0x81, 0, vlan >> 8, vlan & 0xff, ...plain.subarray(12));
}

/** An IPv6 frame to a solicited-node group with a neighbour solicitation, as far as filters look at it, and a number to tell it by. */
function solicitation(mark: number, change: { readonly type?: number; readonly nextHeader?: number; readonly hopLimit?: number; readonly to?: readonly number[] } = {}): Uint8Array {
  const { type = 135, nextHeader = 58, hopLimit = 255, to = [0x33, 0x33, 0xff, 0, 0, 1] } = change;
  const bytes = new Uint8Array(86);
  bytes.set(to);
  bytes.set([2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, nextHeader, hopLimit], 6);
  bytes[54] = type;
  bytes[85] = mark;
  return bytes;
}

interface Pair {
  readonly a: PacketSocket;
  readonly b: PacketSocket;
  close(): void;
}

/** The next frame, for which a real socket may have to wait. */
function next(socket: PacketSocket, length = 100): Uint8Array | undefined {
  const buffer = new Uint8Array(length);
  for (let tries = 0; tries < 20; tries++) {
    const count = socket.receive(buffer);
    if (count !== undefined) return buffer.subarray(0, count);
    if (socket.fd < 0) return undefined;
    const poller = createPoller();
    poller.add(socket.fd);
    poller.wait(5);
  }
  return undefined;
}

/** The same for sockets of both families: `make` gives a frame of theirs, `foreign` one of the other. */
function suite({ open, make, foreign }: { readonly open: () => Pair; readonly make: (mark: number) => Uint8Array; readonly foreign: (mark: number) => Uint8Array }): void {
  const frame = make;
  let pair: Pair;
  beforeEach(() => {
    pair = open();
  });
  afterEach(() => pair.close());

  test("what one sends the other receives, whole and in order", () => {
    pair.a.send(frame(1));
    pair.a.send(frame(2));
    expect(next(pair.b)).toEqual(frame(1));
    expect(next(pair.b)).toEqual(frame(2));
    expect(next(pair.b)).toBeUndefined();
  });

  test("nobody hears itself", () => {
    pair.a.send(frame(1));
    expect(next(pair.b)).toBeDefined();
    expect(next(pair.a)).toBeUndefined();
  });

  test("a frame that is too long for the buffer is cut", () => {
    pair.a.send(frame(1));
    expect(next(pair.b, 20)).toEqual(frame(1).subarray(0, 20));
    expect(next(pair.b)).toBeUndefined();
  });

  test("frames of another EtherType do not arrive", () => {
    pair.a.send(foreign(1));
    pair.a.send(frame(2));
    expect(next(pair.b)).toEqual(frame(2));
  });

  test("a closed one refuses to work, and closing again does nothing", () => {
    pair.a.close();
    pair.a.close();
    expect(() => pair.a.send(frame(1))).toThrow("EBADF");
    expect(() => pair.a.receive(new Uint8Array(10))).toThrow("EBADF");
  });
}

const families = [
  { family: "IPv4", make: (mark: number) => frame(mark), foreign: (mark: number) => frame(mark, 0x88b5), open: openArpSocket },
  { family: "IPv6", make: (mark: number) => solicitation(mark), foreign: (mark: number) => frame(mark), open: openNdpSocket },
] as const;

describe.each(families)("packet socket for $family, fake", ({ family, make, foreign }) => {
  suite({
    make,
    foreign,
    open: () => {
      const segment = new FakeSegment();
      const [a, b] = [segment.open(family), segment.open(family)];
      return { a, b, close: () => [a, b].forEach((socket) => socket.close()) };
    },
  });
});

const why = whyNoNamespaces();
describe.skipIf(why !== undefined)(`packet socket, real${why === undefined ? "" : ` (${why})`}`, () => {
  describe.each(families)("for $family, as any", ({ make, foreign, open }) => suite({
    make,
    foreign,
    open: () => {
      const pair = makeVethPair("socket");
      // The kernels would probe for link-local addresses of their own, in their own time.
      for (const namespace of [pair.speaker, pair.client]) {
        pair.ip(namespace, "link", "set", "eth0", "addrgenmode", "none");
        pair.ip(namespace, "-6", "address", "flush", "dev", "eth0");
      }
      const [near, far] = [openClient(pair.client), openClient(pair.speaker)];
      for (const { socket } of [near, far]) socket.close();
      const a = inNetworkNamespace(pair.client, () => open(near.index));
      const b = inNetworkNamespace(pair.speaker, () => open(far.index));
      return {
        a,
        b,
        close() {
          a.close();
          b.close();
          pair.remove();
        },
      };
    },
  }));

  test("of IPv6 the filters let solicitations of this segment for this host or a group pass, and advertisements where they are wanted", () => {
    const pair = makeVethPair("ndp");
    try {
      const { index, mac } = openClient(pair.speaker);
      const [asker, only, both] = [
        inNetworkNamespace(pair.client, () => openNdpSocket(openClient(pair.client).index, acceptAllFilter)),
        inNetworkNamespace(pair.speaker, () => openNdpSocket(index)),
        inNetworkNamespace(pair.speaker, () => openNdpSocket(index, neighborMessageFilter)),
      ] as const;
      const own = mac.split(":").map((octet) => Number.parseInt(octet, 16));
      const frames = [
        solicitation(1, { type: 134 }),
        solicitation(2, { type: 137 }),
        solicitation(3, { nextHeader: 17 }),
        solicitation(4, { hopLimit: 254 }),
        solicitation(5, { to: [2, 0, 0, 0, 0, 0x77] }),
        solicitation(6, { to: own }),
        solicitation(7, { type: 136, to: own }),
        solicitation(8),
      ];
      const [vlan5, vlan0] = [5, 0].map((vlan) => Uint8Array.of(...solicitation(9 + vlan).subarray(0, 12), 0x81, 0, 0, vlan, ...solicitation(9 + vlan).subarray(12)));
      for (const sent of [...frames, vlan5 ?? frames[0], vlan0 ?? frames[0]]) asker.send(sent ?? new Uint8Array(0));
      // The kernel's own probes for its link-local address may come in between: they carry no mark of ours.
      const marks = (socket: PacketSocket): (number | undefined)[] => {
        const found: (number | undefined)[] = [];
        for (let bytes = next(socket); bytes !== undefined; bytes = next(socket)) if (bytes[11] === 1) found.push(bytes[85]);
        return found;
      };
      expect(marks(only)).toEqual([6, 8, 9]);
      expect(marks(both)).toEqual([6, 7, 8, 9]);
      for (const socket of [asker, only, both]) socket.close();
    } finally {
      pair.remove();
    }
  });

  test("the kernel's filter keeps back foreign VLANs and replies, and lets priority tags pass", () => {
    const pair = makeVethPair("vlan");
    try {
      const { socket: a } = openClient(pair.client);
      const { index } = openClient(pair.speaker);
      const [filtered, all] = inNetworkNamespace(pair.speaker, () => [openArpSocket(index), openArpSocket(index, acceptAllFilter)] as const);
      const reply = frame(3);
      reply[21] = 2;
      for (const sent of [tagged(5, 1), tagged(0, 2), reply, frame(4)]) a.send(sent);
      // Without a filter the tagged request looks like any other: this is what it is there for.
      expect([1, 2, 3, 4].map(() => next(all)?.[41])).toEqual([1, 2, 3, 4]);
      expect([1, 2].map(() => next(filtered)?.[41])).toEqual([2, 4]);
      expect(next(filtered)).toBeUndefined();
      for (const socket of [a, filtered, all]) socket.close();
    } finally {
      pair.remove();
    }
  });

  test("the filter for both lets replies pass too, and nothing else", () => {
    const pair = makeVethPair("both");
    try {
      const { socket: a } = openClient(pair.client);
      const { index } = openClient(pair.speaker);
      const both = inNetworkNamespace(pair.speaker, () => openArpSocket(index, arpFilter));
      const withOperation = (operation: number, mark: number): Uint8Array => {
        const bytes = frame(mark);
        bytes[21] = operation;
        return bytes;
      };
      const toAnother = withOperation(2, 4);
      toAnother.set([2, 0, 0, 0, 0, 0x77], 0);
      for (const sent of [tagged(5, 1), withOperation(2, 2), withOperation(3, 3), toAnother, withOperation(1, 5)]) a.send(sent);
      expect([1, 2].map(() => next(both)?.[41])).toEqual([2, 5]);
      expect(next(both)).toBeUndefined();
      for (const socket of [a, both]) socket.close();
    } finally {
      pair.remove();
    }
  });

  test("an interface that does not exist is ENODEV", () => {
    expect(() => openArpSocket(999_999)).toThrow("ENODEV");
  });
});
