/**
 * Everything that continuous integration runs, part by part, with the time of each, every failure again in
 * a line or two (whoever keeps only the end of the output still learns what failed), and one closing line:
 * `N passed, N failed, N skipped`. Under CI=true a skipped test is a failure, except those that a kernel without the
 * feature, or a machine without Docker, makes impossible (`IMPOSSIBLE_HERE` below names them). A test that fails is run
 * a second time (`second-run.ts`), and named before the closing line if it passes then.
 * `node scripts/test.ts [PART ...]`: check, build, unit, fuzz, sim, lab, rbac. All of them without an argument.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Outcome, TestFailure, TestReport } from "./report-writer.ts";
import { filesToRunAgain, joinRuns, sumOf } from "./second-run.ts";

const root = resolve(import.meta.dirname, "..");
const results = join(root, "test-results");
const isCi = process.env["CI"] === "true";

/** Names (or beginnings) of tests that may be skipped under CI: what they need is not in every kernel. */
const IMPOSSIBLE_HERE: readonly RegExp[] = [/^needs (bonding|VLAN|VRF|IPVS|TCP-AO|netem|Docker|kind)\b/];

/** Failures that are printed again at the end, and how much of a message or of a command's last words. */
const MAX_REPEATED = 40;
const MAX_MESSAGE_CHARACTERS = 1000;
const LAST_LINES = 8;
const MAX_TAIL_CHARACTERS = 4000;

interface Part {
  readonly name: string;
  readonly run: () => Promise<Outcome>;
}

const parts: readonly Part[] = [
  { name: "check", run: () => commands([["tsc", "-p", "."], ["oxlint", "."], ["node", "scripts/tidy.ts"]]) },
  { name: "build", run: () => commands([["node", "scripts/build.ts"], ["node", "scripts/image.ts"], ["node", "scripts/package.ts"]]) },
  { name: "unit", run: () => tests("unit") },
  { name: "fuzz", run: () => commands([["node", "test/fuzz/main.ts", "--seconds", isCi ? "10" : "3"]]) },
  { name: "sim", run: () => commands([["node", "test/sim/main.ts", "--seeds", "100"]]) },
  { name: "lab", run: () => tests("lab") },
  { name: "rbac", run: compareRights },
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !parts.some((part) => part.name === name));
if (unknown.length > 0) {
  console.error(`unknown part ${unknown.join(", ")}; there are: ${parts.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}

rmSync(results, { recursive: true, force: true });
mkdirSync(results, { recursive: true });
const unsteady: TestFailure[] = [];
const total = { passed: 0, skipped: 0, failures: [] as TestFailure[] };
const times: string[] = [];
for (const part of parts.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  console.log(`\n== ${part.name}`);
  const start = performance.now();
  const { passed, failures, skipped } = await part.run();
  times.push(`${part.name.padEnd(6)} ${((performance.now() - start) / 1000).toFixed(1).padStart(7)} s   ${passed} passed, ${failures.length} failed, ${skipped.length} skipped`);
  const forbidden = isCi ? skipped.filter((name) => !IMPOSSIBLE_HERE.some((pattern) => pattern.test(name))) : [];
  total.passed += passed;
  total.skipped += skipped.length - forbidden.length;
  total.failures.push(...[...failures, ...forbidden.map((name) => ({ name, message: "skipped, which CI does not allow" }))]
    .map(({ name, message }) => ({ name: `${part.name}: ${name}`, message })));
}

console.log(`\n== time per part\n${times.join("\n")}`);
tell("what failed once and passed when it was run again", unsteady);
tell("what failed", total.failures);
console.log(`\n${total.passed} passed, ${total.failures.length} failed, ${total.skipped} skipped`);
process.exitCode = total.failures.length > 0 || total.passed === 0 ? 1 : 0;

/** Each command is one test: it passes when it exits 0. All run, so that one run shows all that is wrong. */
async function commands(list: readonly (readonly string[])[]): Promise<Outcome> {
  const failures: TestFailure[] = [];
  for (const argv of list) {
    const { code, lastLines } = await run(argv);
    if (code !== 0) failures.push({ name: argv.join(" "), message: `exit code ${code}${lastLines.map((line) => `\n${line}`).join("")}` });
  }
  return { passed: list.length - failures.length, failures, skipped: [] };
}

/** Rights of the chart against those used by the labs before. It needs all of them: after some alone it is skipped. */
async function compareRights(): Promise<Outcome> {
  const notCompared = 3;
  const { code, lastLines } = await run(["node", "test/chart/rights-of-run.ts"]);
  if (code === notCompared) return { passed: 0, failures: [], skipped: [lastLines.at(-1) ?? ""] };
  return { passed: code === 0 ? 1 : 0, failures: code === 0 ? [] : [{ name: "the chart's rights are those that Herald uses", message: lastLines.join("\n") }], skipped: [] };
}

function tell(title: string, failures: readonly TestFailure[]): void {
  if (failures.length === 0) return;
  console.log(`\n== ${title}`);
  for (const { name, message } of failures.slice(0, MAX_REPEATED)) console.log(`${name}\n    ${message.slice(0, MAX_MESSAGE_CHARACTERS).replaceAll("\n", "\n    ")}`);
  if (failures.length > MAX_REPEATED) console.log(`and ${failures.length - MAX_REPEATED} more`);
}

async function tests(project: string): Promise<Outcome> {
  const first = await vitestReport(project);
  const again = filesToRunAgain(first);
  if (again.length === 0) return sumOf(first);
  console.log(`\n== ${project}, once more: ${again.join(" ")}`);
  const joined = joinRuns(first, await vitestReport(project, again));
  unsteady.push(...joined.unsteady);
  return sumOf(joined.report);
}

/** What each file came to; a run that broke down is a failure under the empty name. */
async function vitestReport(project: string, files: readonly string[] = []): Promise<TestReport> {
  const reportFile = join(results, `${project}${files.length > 0 ? "-again" : ""}.json`);
  const { code, lastLines } = await run(["vitest", "run", "--project", project, ...files], { HERALD_TEST_REPORT: reportFile });
  const brokenDown = (why: string): TestReport => ({ "": { passed: 0, failures: [{ name: "vitest", message: `exit code ${code}${why}\n${lastLines.join("\n")}` }], skipped: [] } });
  try {
    const report = JSON.parse(readFileSync(reportFile, "utf8")) as TestReport;
    return code === 0 || sumOf(report).failures.length > 0 ? report : { ...report, ...brokenDown("") };
  } catch {
    return brokenDown(", no report");
  }
}

interface Run {
  readonly code: number;
  /** The end of what the command printed. */
  readonly lastLines: readonly string[];
}

/** Runs one of the checkout's tools; its output goes to ours. */
function run(argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> {
  const [command = "", ...args] = argv;
  return new Promise((done) => {
    let tail = "";
    const child = spawn(join(root, "node_modules/.bin", command), args, {
      cwd: root,
      // The tools start Node by its name: it has to be the checkout's, not the machine's.
      env: { ...process.env, ...env, PATH: `${join(root, "node_modules/.bin")}:${process.env["PATH"] ?? ""}` },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const [from, to] of [[child.stdout, process.stdout], [child.stderr, process.stderr]] as const) {
      from.setEncoding("utf8").on("data", (text: string) => {
        to.write(text);
        tail = `${tail}${text}`.slice(-MAX_TAIL_CHARACTERS);
      });
    }
    const end = (code: number): void => done({ code, lastLines: tail.trimEnd().split("\n").slice(-LAST_LINES) });
    child.on("error", (error) => {
      console.error(error.message);
      end(127);
    });
    child.on("close", (code) => end(code ?? 1));
  });
}
