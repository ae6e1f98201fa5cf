/**
 * Who takes a group that nobody has, and who gets one that is handed over: pure functions of the rank and of what each
 * candidate is good for. Load has a say only here, never in the rank: views a few claims apart would wait for each other.
 */

/** `first`: good for it; `last`: only when nobody else is; `out`: it can't have it. */
export type Fitness = "first" | "last" | "out";

/** Between two candidates in line. */
export const TAKE_STEP_MS = 30;
/** What all but the first in rank add to that for an address that nobody had before: by so much API views differ at times. */
export const PLACEMENT_GRACE_MS = 100;
/** Who stands further behind waits no longer than this many steps: two claims at a time are better than none for long. */
export const MAX_STEPS = 32;
/** A node that has this many times its fair share takes what its equals don't want. */
export const CAP_FACTOR = 1.25;

/** Groups that a node takes before it lets its equals go first. */
export function capOf(groups: number, nodes: number): number {
  return Math.ceil((CAP_FACTOR * groups) / Math.max(1, nodes));
}

export interface PlacementQuestion {
  /** All candidates by rank. */
  readonly order: readonly string[];
  readonly scores: ReadonlyMap<string, number>;
  readonly fitness: (node: string) => Fitness;
}

/**
 * How long a node waits in line, in steps: how many others come before it. No two have the same place if their views are
 * equal, also when only the node itself knows that it is at its cap. Such a one stands behind all fit ones of its own score,
 * but before those of a lower score: what is preferred stays preferred.
 */
export function positionOf(node: string, atCap: boolean, { order, scores, fitness }: PlacementQuestion): number {
  const isLast = fitness(node) === "last";
  const score = scores.get(node);
  let before = 0;
  let behindOnlyAtCap = 0;
  let isPast = false;
  for (const other of order) {
    const fit = fitness(other);
    if (other === node) {
      isPast = true;
      if (!isLast && !atCap) return before;
    } else if (fit === "first") {
      if (!isPast || isLast) before += 1;
      else if (scores.get(other) === score) behindOnlyAtCap += 1;
    } else if (fit === "last" && isLast && !isPast) {
      before += 1;
    }
  }
  if (isLast) return before;
  // Its equals that are fit have the places up to here; they may all be at their cap, and then rank decides again.
  const equalsBefore = order.slice(0, order.indexOf(node)).filter((other) => fitness(other) === "first" && scores.get(other) === score).length;
  return before + 1 + behindOnlyAtCap + equalsBefore;
}

export interface SuccessorQuestion extends PlacementQuestion {
  /** Version of a node's workload template. */
  readonly template: (node: string) => string;
  readonly ownTemplate: string;
  readonly atCap: (node: string) => boolean;
}

/** Who gets it from `node`: a fit one, on the newest template, preferred, below its cap, first in rank. Undefined when there is nobody. */
export function successorOf(node: string, question: SuccessorQuestion): string | undefined {
  const { order, scores, fitness, template, ownTemplate, atCap } = question;
  let best: string | undefined;
  let bestKey: readonly number[] = [];
  for (const other of order) {
    const fit = other === node ? "out" : fitness(other);
    if (fit === "out") continue;
    const key = [fit === "first" ? 1 : 0, newness(template(other), ownTemplate), scores.get(other) ?? 0, atCap(other) ? 0 : 1];
    if (best !== undefined && !isGreater(key, bestKey)) continue;
    best = other;
    bestKey = key;
  }
  return best;
}

/**
 * 1 newer, 0 the same, -1 older than one's own. Versions that are whole numbers are compared; of other ones a node that
 * leaves only knows that what differs came later.
 */
export function newness(template: string, own: string): number {
  if (template === own || template === "" || own === "") return 0;
  if (!/^\d{1,15}$/.test(template) || !/^\d{1,15}$/.test(own)) return 1;
  return Math.sign(Number(template) - Number(own));
}

function isGreater(a: readonly number[], b: readonly number[]): boolean {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at >= 0 && (a[at] ?? 0) > (b[at] ?? 0);
}
