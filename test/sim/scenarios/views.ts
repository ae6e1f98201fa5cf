/** Starts, stops, and views of the API that differ. */

import { strict as assert } from "node:assert";

import { groupRows } from "../draw.ts";
import * as faults from "../faults.ts";
import { Stage, describeMove } from "./stage.ts";
import type { Scenario } from "./stage.ts";

const pingPong: Scenario = {
  name: "views of the API that differ do not make an address bounce",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 4, groups: 6, ...(machine && { machine }) });
    const [first] = stage.cluster.nodes;
    assert.ok(first !== undefined);
    const others = stage.everyone().filter(({ node }) => node !== first.name);
    const begin = stage.cluster.now;
    // One node keeps the old view, in which it alone may own; the others' view leaves it out.
    for (const row of stage.cluster.rows()) stage.cluster.api.upsert({ ...row, candidates: [{ node: first.name, score: 0 }] }, stage.cluster.now);
    stage.run(3000);
    faults.loseApi(stage.cluster, [first.id], 12_000, "hung");
    for (const row of stage.cluster.rows()) stage.cluster.api.upsert({ ...row, candidates: others }, stage.cluster.now);
    stage.run(20_000);
    const moves = new Map<string, number>();
    for (const { address } of stage.movesSince(begin)) moves.set(address, (moves.get(address) ?? 0) + 1);
    assert.ok([...moves.values()].every((count) => count <= 2), stage.movesSince(begin).map(describeMove).join("; "));
    assert.ok([...stage.map().values()].every((owner) => owner !== first.id), "in the end the view that is true decides");
  },
};

const coldStart: Scenario = {
  name: "in a cold start each address is claimed once, and soon",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 6, groups: 30, startUpMs: 0, ...(machine && { machine }) });
    const tookMs = stage.untilOwned(2500);
    stage.run(5000);
    assert.equal(stage.moves.length, stage.addresses().length, `after ${tookMs} ms: ${stage.moves.map(describeMove).join("; ")}`);
  },
};

const coldStartWithoutOne: Scenario = {
  name: "a cold start waits for a pod that does not come for three seconds, not longer",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 6, groups: 30, startUpMs: 0, offAtStart: [5], ...(machine && { machine }) });
    const tookMs = stage.untilOwned(4500);
    assert.ok(tookMs > 2500, `it took ${tookMs.toFixed(0)} ms only`);
    stage.run(5000);
    assert.equal(stage.moves.length, stage.addresses().length, stage.moves.map(describeMove).join("; "));
  },
};

const gossipOutruns: Scenario = {
  name: "a claim that comes before the watch event stands when the event comes",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 5, groups: 4, ...(machine && { machine }) });
    const [early] = stage.cluster.nodes;
    assert.ok(early !== undefined);
    for (const { id } of stage.cluster.nodes) if (id !== early.id) faults.delayApi(stage.cluster, id, { lagMs: 4000, ms: 100 });
    // Only this node knows the new addresses, and it is first for none or some of them.
    for (let index = 100; index < 110; index++) for (const row of groupRows(index, [{ node: early.name, score: 0 }])) stage.cluster.api.upsert(row, stage.cluster.now);
    stage.run(1500);
    const since = stage.cluster.now;
    assert.ok(stage.owned(early.id).length >= 10, "it claims what it alone knows");
    stage.run(8000);
    stage.expectNoMoves(since);
  },
};

const reused: Scenario = {
  name: "an address that is used again at once has one owner, among its new candidates",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 5, groups: 8, ...(machine && { machine }) });
    const half = stage.everyone().slice(0, 2);
    const { api } = stage.cluster;
    for (const row of stage.cluster.rows()) {
      api.remove(row.address, stage.cluster.now);
      stage.cluster.at(stage.cluster.now + 30, (now) => api.upsert({ ...row, candidates: half }, now));
    }
    stage.run(100);
    stage.untilOwned(2000);
    stage.run(5000);
    for (const owner of stage.map().values()) assert.ok(owner <= 1);
  },
};

const cleanStop: Scenario = {
  name: "a clean stop leaves no gap: the successor answers before the old owner is silent",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 4, groups: 20, ...(machine && { machine }) });
    const node = stage.anOwner();
    const mine = stage.owned(node);
    const begin = stage.cluster.now;
    stage.cluster.node(node).stop(stage.cluster.now);
    for (let step = 0; step < 2000; step++) {
      stage.run(1);
      for (const address of mine) assert.ok(stage.owners(address).length > 0, `nobody answers for ${address} ${step} ms after the stop`);
    }
    assert.equal(stage.cluster.node(node).state, "gone");
    assert.equal(stage.movesSince(begin).length, mine.length, stage.movesSince(begin).map(describeMove).join("; "));
  },
};

const rollout: Scenario = {
  name: "a rolling update of all speakers moves no address more than twice, and leaves none without an answer",
  seeds: [1, 2, 3, 4, 5, 6, 7, 8],
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 3 + (seed % 4), groups: 20, ...(machine && { machine }) });
    const begin = stage.cluster.now;
    for (const node of stage.cluster.nodes) {
      node.template = "2";
      faults.restart(stage.cluster, node.id, 1500, "stop");
      // The next speaker is stopped as soon as this one says that it is ready, as a rolling update does.
      for (let waited = 0; waited < 1500 || !node.isSettled; waited += 5) {
        assert.ok(waited < 6000, `${node.name} does not settle`);
        stage.run(5);
        for (const address of stage.addresses()) assert.ok(stage.owners(address).length > 0, `nobody answers for ${address} ${waited} ms after the stop of ${node.name}`);
      }
    }
    stage.run(5000);
    const moves = new Map<string, number>();
    for (const { address } of stage.movesSince(begin)) moves.set(address, (moves.get(address) ?? 0) + 1);
    assert.ok(moves.size > 0, "something moves");
    assert.ok([...moves.values()].every((count) => count <= 2), stage.movesSince(begin).map(describeMove).join("; "));
  },
};

const apiGone: Scenario = {
  name: "with the API server gone, a dead owner is replaced all the same, and nobody displaces anybody",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 4, groups: 20, ...(machine && { machine }) });
    faults.loseApi(stage.cluster, stage.cluster.nodes.map(({ id }) => id), 30_000, "away");
    const begin = stage.cluster.now;
    stage.run(5000);
    stage.expectNoMoves(begin);
    faults.powerOffForGood(stage.cluster, stage.anOwner());
    stage.untilOwned(600);
  },
};

const withoutIpv6: Scenario = {
  name: "a node whose interface carries no IPv6 leads no IPv6 address, and takes none back when it does",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 4, groups: 0, ...(machine && { machine }) });
    const [odd] = stage.cluster.nodes;
    assert.ok(odd !== undefined);
    odd.setCarriesIpv6(false, stage.cluster.now);
    for (let index = 0; index < 24; index++) for (const row of groupRows(index, stage.everyone(), index % 2 === 0)) stage.cluster.api.upsert(row, stage.cluster.now);
    stage.run(1000);
    stage.untilOwned(1000);
    assert.ok(stage.owned(odd.id).length > 0, "it leads addresses of IPv4 alone");
    const dual = stage.addresses().filter((address) => address.includes(":"));
    assert.deepEqual(dual.filter((address) => stage.owner(address) === odd.id), []);
    const begin = stage.cluster.now;
    odd.setCarriesIpv6(true, stage.cluster.now);
    stage.run(5000);
    stage.expectNoMoves(begin);
    // Lost while it leads both families: they go together.
    const heir = stage.cluster.node(stage.owner(dual[0] ?? ""));
    const lost = stage.cluster.fault("flap", `${heir.name} loses its link-local address`);
    heir.setCarriesIpv6(false, stage.cluster.now);
    stage.run(500);
    lost();
    for (const address of dual) assert.notEqual(stage.owner(address), heir.id);
  },
};

export const viewScenarios: readonly Scenario[] = [withoutIpv6, pingPong, coldStart, coldStartWithoutOne, gossipOutruns, reused, cleanStop, rollout, apiGone];
