/** Writes what a run of vitest came to, for `scripts/test.ts`: names, and why each failure failed. */
import { writeFileSync } from "node:fs";
import type { Reporter, SerializedError, TestModule } from "vitest/node";

/** A test, a hook or a whole file that failed. */
export interface TestFailure {
  readonly name: string;
  /** First line of what was thrown. */
  readonly message: string;
}

/** What a run, or the tests of one file, came to. */
export interface Outcome {
  readonly passed: number;
  /** Tests, and besides them hooks and files that failed outside of any test. */
  readonly failures: readonly TestFailure[];
  /** Names of tests that did not run: skipped, or behind a hook that failed. */
  readonly skipped: readonly string[];
}

/** What each file of tests came to; what failed outside of any is under the empty name. */
export type TestReport = Readonly<Record<string, Outcome>>;

/** A reporter of vitest that writes a `TestReport` as JSON when the run is over. */
export class ReportWriter implements Reporter {
  readonly #path: string;

  /** @param path of the file to write. */
  constructor(path: string) {
    this.#path = path;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const report: Record<string, Outcome> = Object.fromEntries(modules.map((module) => [module.relativeModuleId, outcomeOf(module)]));
    if (unhandled.length > 0) report[""] = { passed: 0, failures: unhandled.map((error) => failure("outside of any test", error)), skipped: [] };
    writeFileSync(this.#path, JSON.stringify(report));
  }
}

function outcomeOf(module: TestModule): Outcome {
  const tests = [...module.children.allTests()];
  const inTests = tests.flatMap((test) => {
    const { state, errors } = test.result();
    return state === "failed" ? [failure(`${module.relativeModuleId} > ${test.fullName}`, errors[0])] : [];
  });
  const inSuites = [...module.children.allSuites()].flatMap((suite) => suite.errors().map((error) => failure(`${module.relativeModuleId} > ${suite.fullName} (a hook)`, error)));
  const inFile = module.errors().map((error) => failure(`${module.relativeModuleId} (the file)`, error));
  return {
    passed: tests.filter((test) => test.result().state === "passed").length,
    failures: [...inTests, ...inSuites, ...inFile],
    skipped: tests.flatMap((test) => (["skipped", "pending"].includes(test.result().state) ? [test.fullName] : [])),
  };
}

function failure(name: string, error: { readonly message: string } | undefined): TestFailure {
  return { name, message: error?.message.split("\n").find((line) => line.trim() !== "") ?? "without a word" };
}
