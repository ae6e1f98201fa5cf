/** Terms, splits and flaps: whose claim stands when sides meet again. */

import { strict as assert } from "node:assert";

import * as faults from "../faults.ts";
import { Stage, describeMove } from "./stage.ts";
import type { Scenario } from "./stage.ts";

const fullRestart: Scenario = {
  name: "terms go on after a full restart, and a forgotten survivor takes nothing",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 5, ...(machine && { machine }) });
    const survivor = stage.anOwner();
    const end = faults.unplug(stage.cluster, survivor, { uplink: true, kind: "partition" });
    stage.run(3000);
    for (const { id } of stage.cluster.nodes) if (id !== survivor) faults.restart(stage.cluster, id, 500);
    stage.run(8000);
    const before = stage.addresses().map((address) => stage.owners(address).filter((node) => node !== survivor)[0]);
    assert.ok(before.every((owner) => owner !== undefined), "the others own everything by themselves");
    end();
    stage.run(4000);
    const after = stage.addresses().map((address) => stage.owner(address));
    assert.deepEqual(after, before, "those that started again keep what they claimed");
  },
};

const split: Scenario = {
  name: "the two sides of a long split agree within two seconds of its end, not a minute",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 10, groups: 20, ...(machine && { machine }) });
    const { client, gateway } = stage.cluster;
    const end = faults.partition(stage.cluster, [0, 1, 2, 3, 4, gateway], [5, 6, 7, 8, 9, client]);
    // Longer than memberlist gossips to the dead.
    stage.run(40_000);
    assert.ok(stage.addresses().every((address) => stage.owners(address).length === 2), "each side serves its own segment");
    end();
    stage.untilOwned(2000);
    const healed = stage.cluster.now;
    stage.run(5000);
    stage.expectNoMoves(healed);
  },
};

const flap: Scenario = {
  name: "a link that flaps moves its own node's addresses once, and nobody else's when it heals",
  run(seed, machine) {
    for (const carrier of [true, false]) {
      const stage = new Stage({ seed, nodes: 5, groups: 20, ...(machine && { machine }) });
      const node = stage.anOwner();
      const mine = new Set(stage.owned(node));
      const begin = stage.cluster.now;
      const end = faults.unplug(stage.cluster, node, { carrier });
      stage.run(2500);
      end();
      stage.run(5000);
      const moves = stage.movesSince(begin);
      assert.deepEqual(moves.filter(({ address }) => !mine.has(address)).map(describeMove), []);
      assert.equal(moves.length, mine.size, moves.map(describeMove).join("; "));
      assert.ok(stage.addresses().every((address) => !mine.has(address) || stage.owner(address) !== node), "it does not get them back");
    }
  },
};

export const cutOff: Scenario = {
  name: "a node that loses the others but not its gateway serves its side, and gives way when it is back",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 5, groups: 20, ...(machine && { machine }) });
    const node = stage.anOwner();
    const before = stage.map();
    const end = faults.unplug(stage.cluster, node, { uplink: true });
    stage.run(4000);
    assert.equal(stage.owned(node).length, before.size, "it serves its side");
    end();
    stage.run(5000);
    for (const [address, owner] of stage.map()) assert.ok(before.get(address) === node ? owner !== node : owner === before.get(address), `${address} is with ${owner}`);
  },
};

const daysApart: Scenario = {
  name: "a node whose clock is days wrong has one owner for each address as the others do, and so it stays when its clock is set",
  run(seed, machine) {
    for (const days of [-3, 3]) {
      const stage = new Stage({ seed, nodes: 4, startUpMs: 0, ...(machine && { machine }) });
      const [odd, mortal] = stage.cluster.nodes;
      assert.ok(odd !== undefined && mortal !== undefined);
      faults.stepClock(stage.cluster, odd.id, days * 86_400_000);
      stage.run(7000);
      stage.untilOwned(1);
      faults.restart(stage.cluster, mortal.id, 4000);
      stage.run(3000);
      stage.untilOwned(1);
      faults.stepClock(stage.cluster, odd.id, -days * 86_400_000);
      faults.restart(stage.cluster, odd.id, 1000);
      stage.run(9000);
      stage.untilOwned(1);
    }
  },
};

const twoMembers: Scenario = {
  name: "of two members that lose each other, the one that hears the gateway has it afterwards",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 2, ...(machine && { machine }) });
    const { client, gateway } = stage.cluster;
    const loser = stage.anOwner();
    const winner = 1 - loser;
    const end = faults.partition(stage.cluster, [loser], [winner, gateway, client]);
    stage.run(6000);
    end();
    stage.untilOwned(2000);
    assert.deepEqual([...new Set(stage.map().values())], [winner]);
  },
};

export const termScenarios: readonly Scenario[] = [fullRestart, split, flap, cutOff, daysApart, twoMembers];
