/** One seed, from its cluster to its verdict. */

import { PROFILES } from "../../speaker/detection/profiles.ts";
import type { Instant } from "../../speaker/machine.ts";
import { seededRandom } from "../../sys/random.ts";
import { allCheckers } from "./checkers/all.ts";
import { Cluster } from "./cluster.ts";
import type { MachineFactory } from "./cluster.ts";
import type { LinkCounters } from "./links.ts";
import { groupsOf, isBareIn, letLoose, nodesOf, START_UP_MS } from "./schedule.ts";
import type { FaultKind } from "./world.ts";
import { describeEvent } from "./events.ts";
import { Violation } from "./world.ts";

export interface RunOptions {
  readonly seed: number;
  /** Instead of the number that the seed gives. */
  readonly nodes: number | undefined;
  readonly machine: MachineFactory;
  /** Gets the cluster before it runs: for those who look inside. */
  readonly onStart?: (cluster: Cluster) => void;
  /** Nothing is encrypted, whatever the seed says. */
  readonly isClear?: boolean;
}

/** Plain data: it may come from another thread. */
export interface RunResult {
  readonly seed: number;
  readonly nodes: number;
  readonly groups: number;
  /** No gateway, no client: the nodes are alone on their segment. */
  readonly isBare: boolean;
  readonly virtualMs: Instant;
  readonly moves: number;
  readonly takeovers: number;
  readonly links: LinkCounters;
  readonly unread: number;
  readonly faults: ReadonlyMap<FaultKind, number>;
  /** How often each rule had something to judge. */
  readonly applied: Readonly<Record<string, number>>;
  readonly longestOverlapMs: number;
  readonly longestLossyOverlapMs: number;
  readonly violation: { readonly rule: string; readonly message: string } | undefined;
  /** The last events, when a rule is broken. */
  readonly story: readonly string[];
}

/** One seed in so many encrypts. */
const ENCRYPTED_EVERY = 7;
const KEY = Uint8Array.from({ length: 32 }, (_, index) => index);

/** Runs a seed to its end or to the first broken rule. The same seed gives the same result, event for event. */
export function runSeed({ seed, nodes: wanted, machine, onStart, isClear = false }: RunOptions): RunResult {
  const random = seededRandom(seed ^ 0x5ced);
  const nodes = wanted ?? nodesOf(seed, random);
  const keys = !isClear && seed % ENCRYPTED_EVERY === 3 && nodes <= 16 ? [KEY] : [];
  const rules = allCheckers({ keys });
  const cluster = new Cluster({ seed, nodes, profile: PROFILES.default, machine, checkers: Object.values(rules), keys, isBare: isBareIn(seed) });
  onStart?.(cluster);
  const groups = groupsOf(random, nodes);
  for (const row of groups.flat()) cluster.api.upsert(row, 0);
  const starting = cluster.fault("rows", "the cluster starts");
  cluster.at(START_UP_MS - 3000, starting);
  const loose = letLoose(cluster, random);
  const violation = judge(() => {
    while (cluster.now < loose.endsAt()) cluster.run(1000);
    cluster.finish();
    const quietSince = cluster.quietSince();
    if (quietSince === undefined || cluster.now - quietSince < 4000) cluster.fail("the schedule ends in peace", "faults are still at work");
  });
  return {
    seed,
    nodes,
    groups: groups.length,
    isBare: cluster.isBare,
    virtualMs: cluster.now,
    moves: cluster.counters.moves,
    takeovers: cluster.counters.takeovers,
    links: cluster.network.links.counters,
    unread: cluster.network.unread,
    faults: cluster.counters.faults,
    applied: Object.fromEntries(Object.entries(rules).map(([name, { applied }]) => [name, applied])),
    longestOverlapMs: rules.overlap.longestMs,
    longestLossyOverlapMs: rules.overlap.longestLossyMs,
    violation: violation === undefined ? undefined : { rule: violation.rule, message: violation.message },
    story: violation === undefined ? [] : cluster.story.map(describeEvent),
  };
}

/** A broken rule is a result; so is a machine that throws. */
function judge(run: () => void): Violation | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof Violation) return error;
    return new Violation("no machine throws", 0, error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
}
