import { describe, expect, test } from "vitest";

import { Deadlines } from "./deadlines.ts";
import { ETH0 } from "./fake-members.ts";
import { Group } from "./group-table.ts";
import { ASK_INTERVAL_MS, DEAF_AFTER_MS, HEARD_WITHIN_MS, Hearing, provingInterfaces, TRUST_AFTER_MS } from "./hearing.ts";

const { isNodeInterface: _, ...ELSEWHERE } = ETH0;
const ETH1 = { ...ELSEWHERE, name: "eth1", index: 3 };

describe("Hearing", () => {
  test("what the node's own pods send proves nothing where the node's own interface is among the address's", () => {
    const pods = { ...ELSEWHERE, name: "pods", index: 4 };
    expect(provingInterfaces([pods, ETH0])).toEqual([ETH0]);
    expect(provingInterfaces([pods, ETH1])).toEqual([pods, ETH1]);
  });

  test("a frame counts on its own interface, if it is young enough and came after the suspicion", () => {
    const hearing = new Hearing(new Deadlines(), () => {});
    hearing.frame(ETH0.index, 1000);
    expect(hearing.heard([ETH0], 1000, 1000)).toBe(true);
    expect(hearing.heard([ETH0], 1001, 1001)).toBe(false);
    expect(hearing.heard([ETH1], -Infinity, 1000)).toBe(false);
    expect(hearing.heard([ETH1, ETH0], -Infinity, 1000)).toBe(true);
    expect(hearing.heard([ETH0], -Infinity, 1000 + HEARD_WITHIN_MS)).toBe(true);
    expect(hearing.heard([ETH0], -Infinity, 1001 + HEARD_WITHIN_MS)).toBe(false);
  });

  test("what was heard on an interface that has gone is forgotten: pods bring new ones for years", () => {
    const hearing = new Hearing(new Deadlines(), () => {});
    for (const { index } of [ETH0, ETH1]) hearing.frame(index, 1000);
    hearing.distrust(ETH1.index, 1000);
    hearing.keep(new Set([ETH0.index]));
    expect([ETH0, ETH1].map((fact) => hearing.heard([fact], 1000, 1001))).toEqual([true, false]);
    expect(hearing.isTrusted([ETH1], 1001)).toBe(true);
  });

  test("who was deaf is not trusted for a second after it hears again", () => {
    for (const [waited, isDeaf] of [[DEAF_AFTER_MS, false], [DEAF_AFTER_MS + 1, true]] as const) {
      const deadlines = new Deadlines();
      const hearing = new Hearing(deadlines, () => {});
      hearing.wait(new Group("x"), [ETH0], 0);
      hearing.frame(ETH0.index, waited);
      expect(hearing.isTrusted([ETH0], waited)).toBe(!isDeaf);
      expect(hearing.isTrusted([ETH0], waited + TRUST_AFTER_MS - 1)).toBe(!isDeaf);
      expect(hearing.isTrusted([ETH0], waited + TRUST_AFTER_MS)).toBe(true);
      expect(hearing.isTrusted([ETH0, ETH1], waited)).toBe(true);
      expect(deadlines.get("trust")).toBe(isDeaf ? waited + TRUST_AFTER_MS : undefined);
    }
  });

  test("a segment is asked once for all groups that wait, and again until the frame comes", () => {
    const asked: number[] = [];
    const deadlines = new Deadlines();
    const hearing = new Hearing(deadlines, (index) => asked.push(index));
    const groups = [new Group("x"), new Group("y")];
    for (const group of groups) hearing.wait(group, [ETH0, ETH1], 0);
    expect(asked).toEqual([2, 3]);
    expect(deadlines.next()).toBe(ASK_INTERVAL_MS);
    deadlines.takeDue(ASK_INTERVAL_MS);
    hearing.askAgain(ASK_INTERVAL_MS);
    expect(asked).toEqual([2, 3, 2, 3]);
    expect(hearing.frame(ETH1.index, 60)).toEqual(groups);
    expect(hearing.frame(ETH0.index, 61)).toEqual([]);
    deadlines.takeDue(2 * ASK_INTERVAL_MS);
    hearing.askAgain(2 * ASK_INTERVAL_MS);
    expect(asked).toHaveLength(4);
    expect(deadlines.next()).toBeUndefined();
  });
});
