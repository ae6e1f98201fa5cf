/**
 * Labs, and the unit tests with real processes and sockets, stand on a machine that others use, too: a whole program may
 * get no processor for seconds, which a user's nodes don't do. A test that fails is run again, once, in a process (and a
 * lab) made anew; what passes then is told as unsteady, by name and with what failed, and is to be looked into: it may be a
 * defect that shows rarely. What fails twice has failed, and so have many failures at a time.
 */
import type { Outcome, TestFailure, TestReport } from "./report-writer.ts";

/** More files than this that fail are no accident of the machine. */
const MOST_FILES = 3;

/** The files to run again; none when nothing failed, or too much, or something outside of the tests. */
export function filesToRunAgain(first: TestReport): string[] {
  const failed = Object.entries(first).filter(([, { failures }]) => failures.length > 0).map(([file]) => file);
  return failed.length > MOST_FILES || failed.includes("") ? [] : failed;
}

/** Both runs as one: of a file that ran twice the second run counts. */
export function joinRuns(first: TestReport, second: TestReport): { readonly report: TestReport; readonly unsteady: readonly TestFailure[] } {
  const unsteady = Object.entries(second).flatMap(([file, { failures }]) => (failures.length === 0 ? (first[file]?.failures ?? []) : []));
  return { report: { ...first, ...second }, unsteady };
}

/** All files together. */
export function sumOf(report: TestReport): Outcome {
  const all = Object.values(report);
  return {
    passed: all.reduce((sum, { passed }) => sum + passed, 0),
    failures: all.flatMap(({ failures }) => failures),
    skipped: all.flatMap(({ skipped }) => skipped),
  };
}
