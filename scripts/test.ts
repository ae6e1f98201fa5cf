/**
 * Everything that continuous integration runs, part by part, with the time of each and one closing line:
 * `N passed, N failed, N skipped`. Under CI=true a skipped test is a failure, except those that a kernel without the
 * feature, or a machine without Docker, makes impossible (`IMPOSSIBLE_HERE` below names them).
 * `node scripts/test.ts [PART ...]`: check, build, unit, fuzz, lab. All of them without an argument.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const results = join(root, "test-results");
const isCi = process.env["CI"] === "true";

/** Names (or beginnings) of tests that may be skipped under CI: what they need is not in every kernel. */
const IMPOSSIBLE_HERE: readonly RegExp[] = [/^needs (bonding|VLAN|VRF|IPVS|TCP-AO|netem|Docker|kind)\b/];

interface Outcome {
  passed: number;
  failed: number;
  skipped: number;
  /** Names of skipped tests that CI may not skip. */
  forbiddenSkips: string[];
}

interface Part {
  readonly name: string;
  readonly run: () => Promise<Outcome>;
}

const parts: readonly Part[] = [
  { name: "check", run: () => commands([["tsc", "-p", "."], ["oxlint", "."], ["node", "scripts/tidy.ts"]]) },
  { name: "build", run: () => commands([["node", "scripts/build.ts"]]) },
  { name: "unit", run: () => vitest("unit") },
  { name: "fuzz", run: () => commands([["node", "test/fuzz/main.ts", "--seconds", isCi ? "20" : "5"]]) },
  { name: "lab", run: () => vitest("lab") },
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !parts.some((part) => part.name === name));
if (unknown.length > 0) {
  console.error(`unknown part ${unknown.join(", ")}; there are: ${parts.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}

rmSync(results, { recursive: true, force: true });
mkdirSync(results, { recursive: true });
const total: Outcome = { passed: 0, failed: 0, skipped: 0, forbiddenSkips: [] };
const times: string[] = [];
for (const part of parts.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  console.log(`\n== ${part.name}`);
  const start = performance.now();
  const outcome = await part.run();
  times.push(`${part.name.padEnd(6)} ${((performance.now() - start) / 1000).toFixed(1).padStart(7)} s   ${outcome.passed} passed, ${outcome.failed} failed, ${outcome.skipped} skipped`);
  total.passed += outcome.passed;
  total.failed += outcome.failed;
  total.skipped += outcome.skipped;
  total.forbiddenSkips.push(...outcome.forbiddenSkips);
}

console.log(`\n== time per part\n${times.join("\n")}`);
if (isCi && total.forbiddenSkips.length > 0) {
  console.log(`\nskipped, which CI does not allow:\n  ${total.forbiddenSkips.join("\n  ")}`);
  total.failed += total.forbiddenSkips.length;
  total.skipped -= total.forbiddenSkips.length;
}
console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;

/** Each command is one test: it passes when it exits 0. All run, so that one run shows all that is wrong. */
async function commands(list: readonly (readonly string[])[]): Promise<Outcome> {
  const outcome: Outcome = { passed: 0, failed: 0, skipped: 0, forbiddenSkips: [] };
  for (const argv of list) {
    if ((await run(argv)) === 0) outcome.passed++;
    else {
      console.error(`FAILED: ${argv.join(" ")}`);
      outcome.failed++;
    }
  }
  return outcome;
}

interface VitestReport {
  numTotalTests: number;
  numPassedTests: number;
  numFailedTests: number;
  testResults: { status: string; message?: string; assertionResults: { status: string; fullName: string }[] }[];
}

async function vitest(project: string): Promise<Outcome> {
  const reportFile = join(results, `${project}.json`);
  const code = await run(["vitest", "run", "--project", project, "--reporter=default", "--reporter=json", `--outputFile.json=${reportFile}`]);
  let report: VitestReport;
  try {
    report = JSON.parse(readFileSync(reportFile, "utf8")) as VitestReport;
  } catch {
    return { passed: 0, failed: 1, skipped: 0, forbiddenSkips: [] };
  }
  const tests = report.testResults.flatMap(({ assertionResults }) => assertionResults);
  const skipped = tests.filter(({ status }) => status !== "passed" && status !== "failed");
  // A file that cannot even be loaded has no tests to count, yet has failed.
  const brokenFiles = report.testResults.filter(({ status, assertionResults }) => status === "failed" && !assertionResults.some((test) => test.status === "failed")).length;
  const failed = report.numFailedTests + brokenFiles;
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && code !== 0 ? 1 : failed,
    skipped: skipped.length,
    forbiddenSkips: skipped.map(({ fullName }) => fullName).filter((name) => !IMPOSSIBLE_HERE.some((pattern) => pattern.test(name))),
  };
}

function run(argv: readonly string[]): Promise<number> {
  const [command = "", ...args] = argv;
  return new Promise((done) => {
    const child = spawn(join(root, "node_modules/.bin", command), args, {
      cwd: root,
      // The tools start Node by its name: it has to be the checkout's, not the machine's.
      env: { ...process.env, PATH: `${join(root, "node_modules/.bin")}:${process.env["PATH"] ?? ""}` },
      stdio: ["ignore", "inherit", "inherit"],
    });
    child.on("error", (error) => {
      console.error(error.message);
      done(127);
    });
    child.on("close", (code) => done(code ?? 1));
  });
}
