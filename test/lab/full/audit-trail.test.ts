import assert from "node:assert/strict";
import { describe, it } from "vitest";
import { type AuditedRequest, type ReleaseStep, auditedRequests } from "./audit-trail.ts";

const SECOND = 1000;
const own = { own: true, values: {} } as const;
const INSTALLED: readonly ReleaseStep[] = [{ at: 1 * SECOND, kind: "installing", ...own }, { at: 2 * SECOND, kind: "installed", ...own }];

interface Options {
  readonly at?: number;
  readonly code?: number;
  readonly user?: string;
  readonly url?: string;
  readonly objectRef?: object;
}

/** A line of an audit log. */
function line({ at = 3, code = 200, user = "system:serviceaccount:metallb-system:herald-speaker", url = "/api/v1/services?limit=500", objectRef = { resource: "services", apiVersion: "v1" } }: Options = {}): string {
  return JSON.stringify({ stage: "ResponseComplete", verb: "list", requestURI: url, user: { username: user }, ...(url === "/version" ? {} : { objectRef }), responseStatus: { code }, requestReceivedTimestamp: new Date(at * SECOND).toISOString() });
}

const LISTED: AuditedRequest = { user: "herald-speaker", verb: "list", group: "", resource: "services", code: 200 };

describe("what Herald asked for, from an audit log", () => {
  it("is told in short, each kind once, others' requests left out", async () => {
    const log = [
      line(), line({ at: 4 }), "", line({ user: "system:node:node1" }), line({ user: "system:serviceaccount:metallb-system-2:herald-speaker" }), line({ url: "/version" }),
      line({ objectRef: { apiGroup: "metallb.io", resource: "servicel2statuses", subresource: "status", namespace: "metallb-system", name: "l2-x" } }),
    ];
    assert.deepEqual(await auditedRequests(log, INSTALLED), [
      LISTED,
      { user: "herald-speaker", verb: "list", url: "/version", code: 200 },
      { user: "herald-speaker", verb: "list", group: "metallb.io", resource: "servicel2statuses", subresource: "status", namespace: "metallb-system", name: "l2-x", code: 200 },
    ]);
  });

  it("leaves out what an administrator asks in a ServiceAccount's name", async () => {
    const asked = JSON.stringify({ ...JSON.parse(line()) as object, user: { username: "admin" }, impersonatedUser: { username: "system:serviceaccount:metallb-system:herald-speaker" } });
    assert.deepEqual(await auditedRequests([asked], INSTALLED), []);
  });

  const former = { own: false, values: {} } as const;
  const refused = { code: 403 } as const;
  it.each<[string, readonly ReleaseStep[], number, boolean]>([
    ["before the first installation", INSTALLED, 0.5, false],
    ["during the first installation", INSTALLED, 1.5, true],
    ["after it", INSTALLED, 9, true],
    ["under another chart", [{ at: 1 * SECOND, kind: "installing", ...former }, { at: 2 * SECOND, kind: "installed", ...former }], 3, false],
    ["while another chart is upgraded", [{ at: 1 * SECOND, kind: "installed", ...former }, { at: 2 * SECOND, kind: "installing", ...own }], 3, false],
    ["after that", [{ at: 1 * SECOND, kind: "installed", ...former }, { at: 2 * SECOND, kind: "installing", ...own }, { at: 3 * SECOND, kind: "installed", ...own }], 4, true],
    ["while the chart is upgraded", [...INSTALLED, { at: 3 * SECOND, kind: "installing", ...own }], 4, false],
    ["while the API server starts", [...INSTALLED, { at: 3 * SECOND, kind: "apiServerStopping" }], 4, false],
    ["once that is ready", [...INSTALLED, { at: 3 * SECOND, kind: "apiServerStopping" }, { at: 4 * SECOND, kind: "apiServerReady" }], 5, true],
    ["once it is being uninstalled", [...INSTALLED, { at: 3 * SECOND, kind: "uninstalling" }], 4, false],
    ["during the next installation", [...INSTALLED, { at: 3 * SECOND, kind: "uninstalling" }, { at: 4 * SECOND, kind: "installing", ...own }], 5, true],
  ])("tells of a refusal %s: its rights are the chart's and settled", async (_, steps, at, told) => {
    assert.deepEqual(await auditedRequests([line({ at, ...refused })], steps), told ? [{ ...LISTED, ...refused }] : []);
  });

  it("tells of what was granted while the chart is upgraded or uninstalled, or the API server starts", async () => {
    for (const kind of ["installing", "uninstalling", "apiServerStopping"] as const) {
      assert.deepEqual(await auditedRequests([line({ at: 9 })], [...INSTALLED, { at: 3 * SECOND, kind, ...own }]), [LISTED]);
    }
  });
});
