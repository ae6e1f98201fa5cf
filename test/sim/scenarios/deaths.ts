/** Who is dead, who sleeps, who is deaf: what is taken over, how soon, and what is not. */

import { strict as assert } from "node:assert";

import { groupRows } from "../draw.ts";
import * as faults from "../faults.ts";
import { Stage, describeMove } from "./stage.ts";
import type { Scenario } from "./stage.ts";

/** Most time without an answer after a loss of power, by the default profile: 280 ms of silence and some candidates in line. */
const POWER_OFF_MS = 450;

const pauseAndPowerOff: Scenario = {
  name: "a pause of 300 ms moves nothing, while a loss of power is taken over in a third of a second",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 5, ...(machine && { machine }) });
    const node = stage.anOwner();
    const begin = stage.cluster.now;
    faults.pauseProcess(stage.cluster, node, 300);
    stage.run(3000);
    stage.expectNoMoves(begin);
    faults.powerOffForGood(stage.cluster, node);
    const tookMs = stage.untilOwned(2000);
    assert.ok(tookMs <= POWER_OFF_MS, `taken over after ${tookMs.toFixed(0)} ms`);
  },
};

const killed: Scenario = {
  name: "a process that is gone is replaced at once, as its kernel says so",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 5, ...(machine && { machine }) });
    faults.killForGood(stage.cluster, stage.anOwner());
    const tookMs = stage.untilOwned(2000);
    assert.ok(tookMs <= 300, `taken over after ${tookMs.toFixed(0)} ms`);
  },
};

/** Most time until a process that is gone is replaced when every third packet is lost, the questions and answers among them. */
const KILLED_WITH_LOSS_MS = 2000;

export const lastOfTwo: Scenario = {
  name: "of two speakers with nobody else on the segment, one that ends is replaced by the other: its kernel is there to be heard",
  seeds: [1, 2, 3, 4, 5, 6, 7, 8],
  run(seed, machine) {
    for (const loss of [0, 0.3]) {
      const stage = new Stage({ seed, nodes: 2, isBare: true, ...(machine && { machine }) });
      // Neither their own questions nor announcements are heard any more.
      stage.run(5000);
      const end = loss === 0 ? undefined : faults.degrade(stage.cluster, { loss });
      const gone = stage.anOwner();
      faults.killForGood(stage.cluster, gone);
      stage.run(1);
      const tookMs = stage.untilOwned(KILLED_WITH_LOSS_MS);
      assert.ok(loss > 0 || tookMs <= 300, `taken over after ${tookMs.toFixed(0)} ms`);
      end?.();
      // Services come and go for long after that.
      for (let round = 1; round <= 3; round++) {
        stage.run(20_000);
        const added = stage.cluster.fault("rows", "another Service");
        for (const row of groupRows(100 + round, stage.everyone())) stage.cluster.api.upsert(row, stage.cluster.now);
        stage.untilOwned(1000);
        added();
      }
    }
  },
};

const neverMet: Scenario = {
  name: "of two speakers with nobody else on the segment, one that never met the other takes everything: the other's kernel is there to be heard",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 2, isBare: true, offAtStart: [1], startUpMs: 0, ...(machine && { machine }) });
    stage.untilOwned(4500);
    assert.deepEqual([...new Set(stage.map().values())], [0]);
  },
};

const deaf: Scenario = {
  name: "a node that sends but cannot receive takes nothing",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 5, ...(machine && { machine }) });
    const node = stage.anOwner();
    const begin = stage.cluster.now;
    const end = faults.deafen(stage.cluster, node);
    stage.run(8000);
    end();
    stage.run(4000);
    assert.deepEqual(stage.movesSince(begin).filter(({ to }) => to === node).map(describeMove), []);
  },
};

const pausedOwner: Scenario = {
  name: "an owner that slept does not answer for what others took meanwhile",
  run(seed, machine) {
    for (const pause of [faults.pauseProcess, faults.pauseMachine]) {
      const stage = new Stage({ seed, nodes: 5, ...(machine && { machine }) });
      const node = stage.anOwner();
      const mine = stage.owned(node);
      pause(stage.cluster, node, 3000);
      stage.run(2999);
      assert.ok(mine.every((address) => stage.owners(address).length === 1), "others have taken over");
      let bothMs = 0;
      for (let step = 0; step < 3000; step++) {
        stage.run(1);
        if (mine.some((address) => stage.owners(address).length > 1)) bothMs += 1;
      }
      assert.ok(bothMs <= 20, `it answered for ${bothMs} ms`);
      assert.ok(mine.every((address) => stage.owner(address) !== node), "it takes nothing back");
    }
  },
};

const unheardHeir: Scenario = {
  name: "an owner that slept waits for word from the one that took over, whatever the others say",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 5, groups: 1, ...(machine && { machine }) });
    const node = stage.anOwner();
    const [address = ""] = stage.owned(node);
    faults.pauseProcess(stage.cluster, node, 3000);
    stage.run(2999);
    const heir = stage.owner(address);
    const end = faults.cut(stage.cluster, [heir], [node]);
    for (let step = 0; step < 80; step++) {
      stage.run(1);
      assert.deepEqual(stage.owners(address), [heir], `${step} ms after it woke up`);
    }
    end();
    stage.run(3000);
    assert.equal(stage.owner(address), heir);
  },
};

const pausedObserver: Scenario = {
  name: "an observer that slept accuses nobody",
  run(seed, machine) {
    for (const pause of [faults.pauseProcess, faults.pauseMachine]) {
      const stage = new Stage({ seed, nodes: 3, ...(machine && { machine }) });
      const node = stage.anOwner();
      const others = stage.addresses().filter((address) => stage.owner(address) !== node);
      const begin = stage.cluster.now;
      pause(stage.cluster, node, 4000);
      stage.run(8000);
      assert.deepEqual(stage.movesSince(begin).filter(({ address }) => others.includes(address)).map(describeMove), []);
      const verdicts = stage.events.filter((event) => event.kind === "verdict" && event.node === node && event.at >= begin);
      assert.deepEqual(verdicts, []);
    }
  },
};

const fastRestart: Scenario = {
  name: "a restart faster than detection moves an address at most once, and leaves none without an owner",
  run(seed, machine) {
    for (const downMs of [20, 80, 150]) {
      const stage = new Stage({ seed, nodes: 4, ...(machine && { machine }) });
      const node = stage.anOwner();
      const begin = stage.cluster.now;
      faults.restart(stage.cluster, node, downMs);
      stage.run(1);
      stage.untilOwned(1000);
      stage.run(8000);
      const moves = stage.movesSince(begin);
      assert.equal(new Set(moves.map(({ address }) => address)).size, moves.length, moves.map(describeMove).join("; "));
    }
  },
};

const coming: Scenario = {
  name: "a node that comes back takes nothing",
  run(seed, machine) {
    const stage = new Stage({ seed, nodes: 3, ...(machine && { machine }) });
    const node = stage.anOwner();
    faults.restart(stage.cluster, node, 5000, "powerOff");
    stage.run(4500);
    const begin = stage.cluster.now;
    stage.run(10_000);
    stage.expectNoMoves(begin);
    assert.deepEqual(stage.owned(node), []);
  },
};

export const deathScenarios: readonly Scenario[] = [pauseAndPowerOff, killed, lastOfTwo, neverMet, deaf, pausedOwner, unheardHeir, pausedObserver, fastRestart, coming];
