/**
 * Holds the rights that the chart gives against those that Herald used in the full labs of a test run, which leave their trails in
 * test-results/audit. Exits 0 when none is missing and none is left over, 1 with a line for each that is, and 3, with the reason in
 * its last line, when not all labs ran. `node test/chart/rights-of-run.ts [--any]`; --any: compare whatever labs ran.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type AuditedRequest, TRAIL_FOLDER, type TrailLine } from "../lab/full/audit-trail.ts";
import { HERALD_NAMESPACE } from "../lab/pods.ts";
import { compareRights, distinct, type Excuse, rightsOf } from "./rights.ts";
import { renderedObjects } from "./objects.ts";

/** Rights that no lab needs, and why they are given nevertheless. */
const EXCUSES: readonly Excuse[] = [];

/** Values by which the chart gives more rights than by its own; some lab has to need those too. */
const FEATURES: readonly object[] = [{}, { crds: { enabled: false } }];

const NOT_COMPARED = 3;

const { values: flags } = parseArgs({ options: { any: { type: "boolean", default: false } } });
const expected = namesOfLabs(join(import.meta.dirname, "../lab"));
const ran = existsSync(TRAIL_FOLDER) ? readdirSync(TRAIL_FOLDER).map((file) => file.replace(/\.jsonl$/, "")) : [];
const absent = expected.filter((name) => !ran.includes(name));

if (absent.length > 0 && !flags.any) {
  console.log(`the chart's rights are compared once all full labs ran; missing: ${absent.join(", ")}`);
  process.exitCode = NOT_COMPARED;
} else {
  process.exitCode = compare(ran.flatMap(linesOf)) ? 0 : 1;
}

function compare(lines: readonly TrailLine[]): boolean {
  const requests = lines.filter((line): line is AuditedRequest => !("values" in line));
  const used = lines.flatMap((line) => ("values" in line ? [line.values] : []));
  const variants = [...new Set([...FEATURES, ...used].map((values) => JSON.stringify(values)))];
  const rights = distinct(variants.flatMap((values) => rightsOf(renderedObjects({ values, namespace: HERALD_NAMESPACE }))));
  const { missing, surplus, idleExcuses } = compareRights({ rights, requests, home: HERALD_NAMESPACE, excuses: EXCUSES });
  for (const line of missing) console.log(`missing: ${line}`);
  for (const line of surplus) console.log(`never needed: ${line}`);
  for (const line of idleExcuses) console.log(`excused, but needed or not given: ${line}`);
  console.log(`${rights.length} rights given by ${variants.length} sets of values, ${requests.length} kinds of requests in ${ran.length} labs: ${missing.length} missing, ${surplus.length} never needed`);
  return missing.length + surplus.length + idleExcuses.length === 0;
}

function linesOf(name: string): TrailLine[] {
  return readFileSync(join(TRAIL_FOLDER, `${name}.jsonl`), "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as TrailLine);
}

/** Names of the labs that leave a trail, as the tests below a folder have them. */
function namesOfLabs(folder: string): string[] {
  const tests = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".test.ts"));
  return tests.flatMap((file) => [...readFileSync(join(folder, file), "utf8").matchAll(/^\s*describeOnFullLab\(.*?\bname: "([a-z0-9-]+)"/gms)].map((match) => match[1] ?? "")).toSorted();
}
