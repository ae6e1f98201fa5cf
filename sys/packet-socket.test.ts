import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { makeVethPair, openClient, whyNoNamespaces } from "../test/netns/veth-pair.ts";
import { inNetworkNamespace } from "./network-namespace.ts";
import { acceptAllFilter, arpFilter, openArpSocket } from "./packet-socket.ts";
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

function suite(open: () => Pair): void {
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
    pair.a.send(frame(1, 0x88b5));
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

describe("packet socket, fake", () => {
  suite(() => {
    const segment = new FakeSegment();
    const [a, b] = [segment.open(), segment.open()];
    return { a, b, close: () => [a, b].forEach((socket) => socket.close()) };
  });
});

const why = whyNoNamespaces();
describe.skipIf(why !== undefined)(`packet socket, real${why === undefined ? "" : ` (${why})`}`, () => {
  describe("as any", () => suite(() => {
    const pair = makeVethPair("socket");
    const { socket: a } = openClient(pair.client);
    const { index } = openClient(pair.speaker);
    const b = inNetworkNamespace(pair.speaker, () => openArpSocket(index));
    return {
      a,
      b,
      close() {
        a.close();
        b.close();
        pair.remove();
      },
    };
  }));

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
