import assert from "node:assert/strict";
import { afterAll, beforeAll, beforeEach, describe } from "vitest";
import { FullLab, type FullLabOptions, type InstallOptions, whyNoFullLab } from "./full-lab.ts";

/** The full lab that a group of tests runs on. */
export interface OnFullLabOptions extends Omit<FullLabOptions, "stays"> {
  /** Name of the lab; no other test may use it. */
  readonly name: string;
  /** How to install Herald; `false` leaves that to the tests. */
  readonly herald?: InstallOptions | false;
}

/**
 * A group of tests on a full lab of their own, with Herald installed in it. Where no full lab can run the group is skipped, with
 * the reason in its title; when a test fails, the lab's logs, captures and audit log are kept. One lab per file: four nodes
 * want a gigabyte and a half of memory.
 * @param define declares the tests; its argument gives the lab once they run.
 */
export function describeOnFullLab(title: string, options: OnFullLabOptions, define: (lab: () => FullLab) => void): void {
  const { herald, ...labOptions } = options;
  const reason = whyNoFullLab();
  describe.skipIf(reason !== undefined)(reason === undefined ? title : `${title} (${reason})`, () => {
    let running: FullLab | undefined;
    // Until the set-up is through: a lab that does not start is worth its logs too.
    let failed = true;
    beforeAll(async () => {
      running = await FullLab.up(labOptions);
      if (herald !== false) await running.startHerald(herald);
      failed = false;
    });
    beforeEach(({ onTestFailed }) => {
      onTestFailed(() => {
        failed = true;
      });
    });
    afterAll(async () => {
      try {
        await running?.keepTrail();
      } finally {
        await running?.down({ failed });
      }
    });
    define(() => {
      assert.ok(running, "the full lab runs");
      return running;
    });
  });
}
