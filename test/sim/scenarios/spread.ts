/** How claims travel: soon, and in few bytes. */

import { strict as assert } from "node:assert";

import { Agreement } from "../../../speaker/agreement/agreement.ts";
import { groupRows } from "../draw.ts";
import type { NodeId } from "../events.ts";
import * as faults from "../faults.ts";
import { Stage } from "./stage.ts";
import type { Scenario } from "./stage.ts";

/** Most time until all nodes know of a claim, counted from the moment at which it was made. */
const KNOWN_MS = 200;
/** Most bytes of a list of 5,000 claims. */
const LIST_BYTES = 120_000;

/** How many addresses the node believes to be this owner's. */
function known(stage: Stage, node: NodeId, owner: string): number {
  const { machine } = stage.cluster.node(node);
  assert.ok(machine instanceof Agreement);
  return machine.snapshot().claims.filter((claim) => claim.owner === owner).length;
}

/** Gives one node so many groups that nobody else may have. */
function giveTo(stage: Stage, owner: NodeId, groups: number): void {
  const candidates = [{ node: stage.cluster.node(owner).name, score: 0 }];
  for (let index = 1000; index < 1000 + groups; index++) for (const row of groupRows(index, candidates)) stage.cluster.api.upsert(row, stage.cluster.now);
}

function thousandOf(nodes: number): Scenario {
  return {
    name: `a thousand claims are known to all of ${nodes} nodes within 200 ms`,
    seeds: [1],
    run(seed, machine) {
      const stage = new Stage({ seed, nodes, groups: 0, ...(machine && { machine }) });
      const [owner] = stage.cluster.nodes;
      assert.ok(owner !== undefined);
      giveTo(stage, owner.id, 1000);
      while (stage.owned(owner.id).length < 1000) stage.run(1);
      stage.run(KNOWN_MS);
      for (const { id, name } of stage.cluster.nodes) assert.equal(known(stage, id, owner.name), 1000, `known to ${name}`);
    },
  };
}

const bytes: Scenario = {
  name: "a newcomer learns of five thousand claims in less than 120 kB",
  seeds: [1],
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 3, groups: 0, ...(machine && { machine }) });
    const [owner, newcomer] = stage.cluster.nodes;
    assert.ok(owner !== undefined && newcomer !== undefined);
    giveTo(stage, owner.id, 5000);
    stage.run(5000);
    assert.equal(stage.owned(owner.id).length, 5000);
    faults.restart(stage.cluster, newcomer.id, 1000);
    const before = owner.sent.streamBytes;
    stage.run(4000);
    assert.equal(known(stage, newcomer.id, owner.name), 5000);
    const sent = owner.sent.streamBytes - before;
    assert.ok(sent > 0 && sent < LIST_BYTES, `${sent} bytes`);
  },
};

export const spreadScenarios: readonly Scenario[] = [thousandOf(10), thousandOf(40), bytes];
