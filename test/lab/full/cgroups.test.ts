import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "vitest";
import { LAB_WEIGHT, makeCgroup, removeCgroups } from "../cgroups.ts";
import { whyNoFullLab } from "./full-lab.ts";

const reason = whyNoFullLab();
const MACHINE = "/sys/fs/cgroup";
/** The machine's hierarchies, and the one of version 2 that may stand beside those of version 1: each is the real thing. */
const ROOTS = [MACHINE, join(MACHINE, "unified")].filter((root) => existsSync(root));

describe.skipIf(reason !== undefined)(`control groups of nodes${reason === undefined ? "" : ` (${reason})`}`, () => {
  it.each(ROOTS)("are made below %s, take processes, and are removed with what is in them", async (root) => {
    const path = makeCgroup("cgroup-test", "node1", root);
    assert.equal(path, "/hl-cgroup-test.nodes/node1");
    const hierarchies = existsSync(join(root, "cgroup.controllers")) ? [root] : readdirSync(root).filter((name) => name !== "unified").map((name) => join(root, name));
    assert.ok(hierarchies.length > 0);
    for (const hierarchy of hierarchies) {
      assert.ok(existsSync(join(hierarchy, path)), hierarchy);
      mkdirSync(join(hierarchy, path, "kubepods/pod1"), { recursive: true });
      const cpus = join(hierarchy, path, "cpuset.cpus");
      // A group without processors takes no process; those of version 2 have their parent's.
      if (existsSync(cpus) && !existsSync(join(root, "cgroup.controllers"))) assert.equal(readFileSync(cpus, "utf8"), readFileSync(join(hierarchy, "cpuset.cpus"), "utf8"));
    }
    // The machine's other processes must not starve a lab: their number does not matter to a node of its own.
    const weights = hierarchies.flatMap((hierarchy) => ["cpu.shares", "cpu.weight"].map((file) => join(hierarchy, "hl-cgroup-test.nodes", file))).filter((file) => existsSync(file));
    if (root === MACHINE) assert.equal(weights.length, 1);
    for (const file of weights) assert.equal(Number(readFileSync(file, "utf8")), (file.endsWith("shares") ? 1024 : 100) * LAB_WEIGHT);
    await removeCgroups("cgroup-test", "node1", root);
    for (const hierarchy of hierarchies) assert.ok(!existsSync(join(hierarchy, path)) && existsSync(join(hierarchy, "hl-cgroup-test.nodes")), hierarchy);
    await removeCgroups("cgroup-test", "", root);
    for (const hierarchy of hierarchies) assert.ok(!existsSync(join(hierarchy, "hl-cgroup-test.nodes")), hierarchy);
  });
});
