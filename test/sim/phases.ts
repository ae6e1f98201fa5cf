/** Phases of trouble: each begins now and returns how long it lasts. What it breaks is whole again by then. */

import type { Random } from "../../speaker/machine.ts";
import type { Cluster } from "./cluster.ts";
import { between, groupRows, pick, shuffled, someNodes } from "./draw.ts";
import { nodeName } from "./events.ts";
import * as faults from "./faults.ts";
import type { FaultKind } from "./world.ts";

export interface Phase {
  readonly name: FaultKind;
  /** @returns its duration in ms */
  begin(cluster: Cluster, random: Random): number;
}

/** Phases that say something only if nothing else is wrong. */
export const QUIET_PHASES: readonly FaultKind[] = ["pause", "deaf", "flap"];
const START_MS = faults.START_MS;

/** Pauses that must move nothing, of all nodes and often at the same time. */
const shortPauses: Phase = {
  name: "pause",
  begin(cluster, random) {
    const count = between(random, 5, 15);
    for (let index = 0; index < count; index++) {
      const at = cluster.now + random.next() * 4000;
      const node = pick(random, cluster.nodes).id;
      const [isMachine, length] = [random.next() < 0.4, random.next()];
      cluster.at(at, () => (isMachine ? faults.pauseMachine(cluster, node, 20 + 130 * length) : faults.pauseProcess(cluster, node, 50 + 450 * length)));
    }
    return 4600;
  },
};

const longPauses: Phase = {
  name: "machinePause",
  begin(cluster, random) {
    let last = 0;
    for (const node of someNodes(cluster, random, cluster.nodes.length / 2)) {
      const [at, ms] = [random.next() * 1500, 200 + 3500 * random.next() ** 2];
      const pause = random.next() < 0.5 ? faults.pauseMachine : faults.pauseProcess;
      cluster.at(cluster.now + at, () => pause(cluster, node, ms));
      last = Math.max(last, at + ms);
    }
    return last;
  },
};

const split: Phase = {
  name: "partition",
  begin(cluster, random) {
    const hosts = shuffled(random, Array.from({ length: cluster.nodes.length + 2 }, (_, host) => host));
    const size = between(random, 1, hosts.length - 1);
    const ms = 100 + 7000 * random.next() ** 2;
    const end = faults.partition(cluster, hosts.slice(0, size), hosts.slice(size));
    cluster.at(cluster.now + ms, end);
    return ms;
  },
};

const oneWay: Phase = {
  name: "oneWay",
  begin(cluster, random) {
    const hosts = shuffled(random, Array.from({ length: cluster.nodes.length + 2 }, (_, host) => host));
    const size = between(random, 1, hosts.length - 1);
    const ms = 100 + 5000 * random.next() ** 2;
    cluster.at(cluster.now + ms, faults.cut(cluster, hosts.slice(0, size), hosts.slice(size)));
    return ms;
  },
};

const deafness: Phase = {
  name: "deaf",
  begin(cluster, random) {
    const [node] = someNodes(cluster, random, 1);
    // Sometimes longer than membership's own suspicion takes.
    const ms = 1500 + 8000 * random.next() ** 2;
    if (node !== undefined) cluster.at(cluster.now + ms, faults.deafen(cluster, node));
    return ms;
  },
};

const flap: Phase = {
  name: "flap",
  begin(cluster, random) {
    const [node] = someNodes(cluster, random, 1);
    const ms = 100 + 4000 * random.next() ** 2;
    const draw = random.next();
    if (node !== undefined) cluster.at(cluster.now + ms, faults.unplug(cluster, node, { carrier: draw < 0.3, uplink: draw > 0.6 }));
    return ms;
  },
};

/** Processes killed, or all of them; some come back before anybody notices. */
const crashes: Phase = {
  name: "kill",
  begin(cluster, random) {
    const isAll = random.next() < 0.2;
    const nodes = isAll ? cluster.nodes.map(({ id }) => id) : someNodes(cluster, random, Math.min(5, cluster.nodes.length - 1));
    let last = 0;
    for (const node of nodes) {
      const [at, downMs] = [isAll ? random.next() * 20 : random.next() * 2000, 20 + 3000 * random.next() ** 2];
      cluster.at(cluster.now + at, () => faults.restart(cluster, node, downMs));
      last = Math.max(last, at + downMs + START_MS);
    }
    return last;
  },
};

const powerOffs: Phase = {
  name: "powerOff",
  begin(cluster, random) {
    let last = 0;
    for (const node of someNodes(cluster, random, Math.min(4, cluster.nodes.length / 2))) {
      const [at, downMs] = [random.next() * 2000, 1000 + 4000 * random.next()];
      cluster.at(cluster.now + at, () => faults.restart(cluster, node, downMs, "powerOff"));
      last = Math.max(last, at + downMs + START_MS);
    }
    return last;
  },
};

/** Speakers, or nodes, that stay away for long: the others are at rest without them, and have everything, long before they are back. */
const absences: Phase = {
  name: "absent",
  begin(cluster, random) {
    const nodes = someNodes(cluster, random, Math.min(3, cluster.nodes.length - 1));
    const awayMs = 6500 + 2000 * random.next();
    cluster.fault("absent", `${nodes.map(nodeName).join(", ")} for ${awayMs.toFixed(0)} ms`)();
    for (const node of nodes) {
      // One that is left alone has nobody who proves to it that it hears, but for the kernel of one whose process has ended.
      const mayBeOff = !cluster.isBare || cluster.nodes.length - nodes.length >= 2;
      if (random.next() < 0.5 && mayBeOff) faults.powerOffForGood(cluster, node);
      else faults.killForGood(cluster, node);
      cluster.at(cluster.now + awayMs, () => faults.comeBack(cluster, node));
    }
    // Long after the last frame that anybody sent because of the dead.
    const index = between(random, 300, 900);
    cluster.at(cluster.now + 3500, (now) => {
      const end = cluster.fault("rows", "another group");
      for (const row of groupRows(index, cluster.nodes.map(({ name }) => ({ node: name, score: 0 })))) cluster.api.upsert(row, now);
      end();
    });
    return awayMs + START_MS;
  },
};

/** A rolling restart, one by one or close to each other. */
const stops: Phase = {
  name: "stop",
  begin(cluster, random) {
    const gapMs = 50 + 1500 * random.next();
    const nodes = someNodes(cluster, random, Math.min(6, cluster.nodes.length - 1));
    for (const [index, node] of nodes.entries()) cluster.at(cluster.now + index * gapMs, () => faults.restart(cluster, node, 1200 + 500 * random.next(), "stop"));
    return nodes.length * gapMs + 2000 + START_MS;
  },
};

/** Bad links, and something else at the same time. */
const storm: Phase = {
  name: "loss",
  begin(cluster, random) {
    const end = faults.degrade(cluster, {
      loss: 0.01 + 0.15 * random.next() ** 2,
      duplication: 0.05 * random.next(),
      late: 0.05 * random.next(),
      lateMs: 60 * random.next(),
      jitterMs: 3 * random.next(),
    });
    const others = phases.filter(({ name }) => name !== "loss");
    const ms = Math.max(2000, pick(random, others).begin(cluster, random));
    cluster.at(cluster.now + ms, end);
    return ms;
  },
};

/** Watches end, hang or lag, while rows change. */
const api: Phase = {
  name: "apiHung",
  begin(cluster, random) {
    const ms = 1000 + 5000 * random.next();
    for (const node of someNodes(cluster, random, cluster.nodes.length)) {
      const draw = random.next();
      if (draw < 0.4) faults.delayApi(cluster, node, { lagMs: 1500 * random.next(), ms });
      else faults.loseApi(cluster, [node], ms * (0.3 + 0.7 * random.next()), draw < 0.7 ? "away" : "hung");
    }
    changeRows(cluster, random, ms);
    return ms + 1500;
  },
};

const rows: Phase = {
  name: "rows",
  begin(cluster, random) {
    changeRows(cluster, random, 3000);
    return 3500;
  },
};

const clocks: Phase = {
  name: "clockStep",
  begin(cluster, random) {
    for (const node of someNodes(cluster, random, cluster.nodes.length)) faults.stepClock(cluster, node, (random.next() - 0.5) * 20_000);
    const other = pick(random, phases.filter(({ name }) => name !== "clockStep" && !QUIET_PHASES.includes(name)));
    return other.begin(cluster, random);
  },
};

/** Groups that go, come, come back at once, or get other candidates, within so many ms. */
function changeRows(cluster: Cluster, random: Random, withinMs: number): void {
  const end = cluster.fault("rows", "change");
  cluster.at(cluster.now + withinMs, end);
  const groups = [...new Set(cluster.rows().map(({ group }) => group))];
  for (const group of shuffled(random, groups).slice(0, between(random, 1, 5))) {
    const at = cluster.now + random.next() * withinMs * 0.8;
    const draw = random.next();
    const candidates = cluster.nodes.filter(() => random.next() < 0.6).map(({ id }) => ({ node: nodeName(id), score: random.next() < 0.2 ? 1 : 0 }));
    cluster.at(at, (now) => {
      for (const row of cluster.rows().filter((row) => row.group === group)) {
        if (draw < 0.3) cluster.api.remove(row.address, now);
        if (draw < 0.2) cluster.at(now + 30, (later) => cluster.api.upsert(row, later));
        if (draw >= 0.3) cluster.api.upsert({ ...row, candidates }, now);
      }
    });
  }
  const index = groups.length + between(random, 100, 200);
  const everyone = cluster.nodes.map(({ id }) => ({ node: nodeName(id), score: 0 }));
  cluster.at(cluster.now + random.next() * withinMs * 0.8, (now) => groupRows(index, everyone).forEach((row) => cluster.api.upsert(row, now)));
}

export const phases: readonly Phase[] = [shortPauses, longPauses, split, oneWay, deafness, flap, crashes, powerOffs, absences, stops, storm, api, rows, clocks];
