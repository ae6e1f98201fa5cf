import { describe, expect, test } from "vitest";

import { BroadcastQueue, retransmitLimit } from "./broadcast-queue.ts";
import type { News } from "./broadcast-queue.ts";

function suspect(node: string, incarnation = 1): News {
  return { kind: "suspect", node, incarnation, from: "x" };
}

function names(news: readonly News[]): string[] {
  return news.map(({ node }) => node);
}

// memberlist's own examples, and the sizes of clusters we meet.
test.each([
  [3, 0, 0],
  [3, 1, 3],
  [3, 99, 6],
  [4, 3, 4],
  [4, 10, 8],
])("with multiplier %d among %d members news are sent %d times", (multiplier, members, limit) => {
  expect(retransmitLimit(multiplier, members)).toBe(limit);
});

describe("broadcast queue", () => {
  test("sends each message as often as the limit says, then no more", () => {
    const queue = new BroadcastQueue();
    queue.add(suspect("a"), 50);
    const room = { bytes: 1_000, limit: 3 };
    expect([1, 2, 3, 4].map(() => queue.take(room).length)).toEqual([1, 1, 1, 0]);
    expect(queue.length).toBe(0);
  });

  test("the newest about a member replaces the older, and counts from nought", () => {
    const queue = new BroadcastQueue();
    const room = { bytes: 1_000, limit: 2 };
    queue.add(suspect("a", 1), 50);
    queue.take(room);
    queue.add(suspect("a", 2), 50);
    expect(queue.take(room)).toEqual([suspect("a", 2)]);
    expect(queue.take(room)).toEqual([suspect("a", 2)]);
    expect(queue.take(room)).toEqual([]);
  });

  test("what was sent least goes first", () => {
    const queue = new BroadcastQueue();
    const room = { bytes: 52, limit: 5 };
    queue.add(suspect("a"), 50);
    queue.take(room);
    queue.add(suspect("b"), 50);
    expect(names(queue.take(room))).toEqual(["b"]);
    expect(names(queue.take({ ...room, bytes: 200 }))).toEqual(["a", "b"]);
  });

  test("fills the room with what fits", () => {
    const queue = new BroadcastQueue();
    queue.add(suspect("a"), 60);
    queue.add(suspect("b"), 60);
    queue.add(suspect("c"), 30);
    expect(names(queue.take({ bytes: 90, limit: 5 }))).toEqual(["a", "c"]);
    expect(names(queue.take({ bytes: 59, limit: 5 }))).toEqual(["c"]);
  });

  test("gives up on a packet after a few messages that do not fit", () => {
    const queue = new BroadcastQueue();
    for (let index = 0; index < 16; index += 1) queue.add(suspect(`long-${index}`), 600);
    queue.add(suspect("short"), 10);
    expect(queue.take({ bytes: 100, limit: 5 })).toEqual([]);
  });
});
