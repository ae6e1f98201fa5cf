/** What Herald asked the API server for in a full lab, in short: kept after the lab is gone, to be held against the rights that the chart gives. */
import { createReadStream, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { HERALD_NAMESPACE } from "../pods.ts";
import { CHECKOUT } from "../programs.ts";

/** Folder of the trails, one file per lab: `NAME.jsonl`, one TrailLine per line. scripts/test.ts empties it when it starts. */
export const TRAIL_FOLDER = join(CHECKOUT, "test-results/audit");

const HTTP_FORBIDDEN = 403;

/** A request of one of Herald's ServiceAccounts. Without `resource` it was for a `url` outside of the API's objects. */
export interface AuditedRequest {
  /** Name of the ServiceAccount, in Herald's namespace. */
  readonly user: string;
  readonly verb: string;
  /** Empty for the core group. */
  readonly group?: string;
  readonly resource?: string;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly url?: string;
  /** HTTP status of the answer. */
  readonly code: number;
}

/** A line of a trail: values of the chart that Herald ran with, or a request. */
export type TrailLine = { readonly values: Readonly<Record<string, unknown>> } | AuditedRequest;

/** What was done to the release, and when (Unix ms). `own` is false for another chart than the checkout's. */
export type ReleaseStep =
  | { readonly at: number; readonly kind: "installing" | "installed"; readonly own: boolean; readonly values: Readonly<Record<string, unknown>> }
  | { readonly at: number; readonly kind: "uninstalling" | "apiServerStopping" | "apiServerReady" };

/** As much of an event of audit.k8s.io/v1 as matters here. */
interface AuditEvent {
  readonly stage: string;
  readonly requestURI: string;
  readonly verb: string;
  readonly user: { readonly username: string };
  readonly objectRef?: { readonly apiGroup?: string; readonly resource?: string; readonly subresource?: string; readonly namespace?: string; readonly name?: string };
  readonly responseStatus?: { readonly code?: number };
  readonly requestReceivedTimestamp: string;
}

/**
 * The lines of an audit log that are Herald's, each once. Left out: what happened under another chart's rights, and refusals while
 * rights change (an upgrade, an uninstallation), which befall programs that are about to end, and while the API server starts,
 * which serves before it has read who may what.
 * @param log lines of JSON; a line that is none ends the reading with an error.
 */
export async function auditedRequests(log: Iterable<string> | AsyncIterable<string>, steps: readonly ReleaseStep[]): Promise<AuditedRequest[]> {
  const prefix = `system:serviceaccount:${HERALD_NAMESPACE}:`;
  const found = new Map<string, AuditedRequest>();
  for await (const line of log) {
    // Parsing is dear, and most lines are others'.
    if (!line.includes(prefix)) continue;
    const event = JSON.parse(line) as AuditEvent;
    if (!event.user.username.startsWith(prefix)) continue;
    const request = requestOf(event, event.user.username.slice(prefix.length));
    const standing = standingAt(Date.parse(event.requestReceivedTimestamp), steps);
    if (standing === "foreign" || (standing === "changing" && request.code === HTTP_FORBIDDEN)) continue;
    found.set(JSON.stringify(request), request);
  }
  return [...found.values()];
}

/** Writes a lab's trail, in place of an earlier one of that name. */
export async function writeTrail(lab: { readonly name: string; readonly auditLog: string; readonly releaseSteps: readonly ReleaseStep[] }): Promise<void> {
  const requests = await auditedRequests(createInterface({ input: createReadStream(lab.auditLog, "utf8") }), lab.releaseSteps);
  const values = lab.releaseSteps.flatMap((step) => (step.kind === "installed" && step.own ? [{ values: step.values }] : []));
  mkdirSync(TRAIL_FOLDER, { recursive: true });
  writeFileSync(join(TRAIL_FOLDER, `${lab.name}.jsonl`), [...values, ...requests].map((line: TrailLine) => `${JSON.stringify(line)}\n`).join(""));
}

function requestOf({ verb, requestURI, objectRef, responseStatus }: AuditEvent, user: string): AuditedRequest {
  const code = responseStatus?.code ?? 0;
  if (objectRef?.resource === undefined) return { user, verb, url: requestURI.replace(/\?.*$/, ""), code };
  const { apiGroup: group = "", resource, subresource, namespace, name } = objectRef;
  return { user, verb, group, resource, ...(subresource === undefined ? {} : { subresource }), ...(namespace === undefined ? {} : { namespace }), ...(name === undefined ? {} : { name }), code };
}

/** Whose rights were in force: the checkout's chart's, those of another chart or of none, or nobody's for sure. */
function standingAt(at: number, steps: readonly ReleaseStep[]): "own" | "foreign" | "changing" {
  const past = steps.filter((step) => step.at <= at);
  const releases = past.filter(({ kind }) => !kind.startsWith("apiServer"));
  const [before, last] = [releases.at(-2), releases.at(-1)].map((step) => ({ own: step !== undefined && "own" in step && step.own, kind: step?.kind }));
  if (last?.kind === "uninstalling") return before?.own === true ? "changing" : "foreign";
  if (last?.own !== true) return "foreign";
  if (past.findLast(({ kind }) => kind.startsWith("apiServer"))?.kind === "apiServerStopping") return "changing";
  if (last.kind === "installed" || before?.kind === undefined || before.kind === "uninstalling") return "own";
  return before.own ? "changing" : "foreign";
}
