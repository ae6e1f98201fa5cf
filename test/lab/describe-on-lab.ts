import assert from "node:assert/strict";
import { afterAll, beforeAll, beforeEach, describe } from "vitest";
import type { HeraldOptions } from "./herald.ts";
import { Lab, whyNoLab } from "./lab.ts";

/** The lab that a group of tests runs on. */
export interface OnLabOptions {
  /** Name of the lab; no other test may use it. */
  readonly name: string;
  readonly nodes: number;
  readonly herald?: HeraldOptions;
}

/**
 * A group of tests on a lab of their own, with Herald started in it. Where no lab can run the group is skipped, with the
 * reason in its title; when a test fails, the lab's logs and captures are kept.
 * @param define declares the tests; its argument gives the lab once they run.
 */
export function describeOnLab(title: string, options: OnLabOptions, define: (lab: () => Lab) => void): void {
  const reason = whyNoLab();
  describe.skipIf(reason !== undefined)(reason === undefined ? title : `${title} (${reason})`, () => {
    let running: Lab | undefined;
    // Until the set-up is through: a lab that does not start is worth its logs too.
    let failed = true;
    beforeAll(async () => {
      running = await Lab.up({ name: options.name, nodes: options.nodes });
      await running.startHerald(options.herald);
      failed = false;
    });
    beforeEach(({ onTestFailed }) => {
      onTestFailed(() => {
        failed = true;
      });
    });
    afterAll(async () => running?.down({ failed }));
    define(() => {
      assert.ok(running, "the lab runs");
      return running;
    });
  });
}

/** Deletes every Service, Deployment, pool and advertisement, so that the next test starts from nothing. */
export async function clear(lab: Lab): Promise<void> {
  await lab.kubectl(["delete", "services", "-n", "default", "--field-selector=metadata.name!=kubernetes", "--wait=true"]);
  await lab.kubectl(["delete", "deployments", "-n", "default", "--all", "--wait=false"]);
  await lab.kubectl(["delete", "l2advertisements,ipaddresspools", "-n", "metallb-system", "--all", "--wait=true"]);
}
