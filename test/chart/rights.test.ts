import assert from "node:assert/strict";
import { describe, it } from "vitest";
import type { AuditedRequest } from "../lab/full/audit-trail.ts";
import { findProgram } from "../lab/programs.ts";
import { renderedObjects, type Rendered, type Rule } from "./objects.ts";
import { compareRights, describeRight, distinct, type Right, rightsOf } from "./rights.ts";

const HOME = "metallb-system";

function workload(serviceAccountName: string): Rendered {
  return { kind: "Deployment", metadata: { name: serviceAccountName }, spec: { template: { spec: { containers: [], serviceAccountName } } } };
}

/** A role and its binding to a ServiceAccount, of a namespace or of the cluster. */
function bound(user: string, namespace: string | undefined, rules: readonly Rule[]): Rendered[] {
  const prefix = namespace === undefined ? "Cluster" : "";
  const metadata = { name: user, ...(namespace === undefined ? {} : { namespace }) };
  const binding = { kind: `${prefix}RoleBinding`, metadata, roleRef: { kind: `${prefix}Role`, name: user }, subjects: [{ kind: "ServiceAccount", name: user, namespace: HOME }] };
  return [{ kind: `${prefix}Role`, metadata, rules }, binding];
}

const RULES: readonly Rule[] = [
  { apiGroups: [""], resources: ["services", "nodes"], verbs: ["list", "watch"] },
  { nonResourceURLs: ["/version"], verbs: ["get"] },
];
const OWN_RULES: readonly Rule[] = [{ apiGroups: [""], resources: ["secrets"], resourceNames: ["key"], verbs: ["get"] }, { apiGroups: ["metallb.io"], resources: ["states", "states/status"], verbs: ["create", "patch"] }];
const OBJECTS = [workload("c"), ...bound("c", undefined, RULES), ...bound("c", HOME, OWN_RULES), ...bound("prometheus", HOME, RULES)];

const SERVICES = { user: "c", group: "", resource: "services", code: 200 } as const;
const STATES = { user: "c", group: "metallb.io", resource: "states", namespace: HOME, name: "x" } as const;
/** Requests that need every right of OBJECTS. */
const REQUESTS: readonly AuditedRequest[] = [
  { ...SERVICES, verb: "list" }, { ...SERVICES, verb: "watch" }, { ...SERVICES, verb: "list", resource: "nodes" }, { ...SERVICES, verb: "watch", resource: "nodes" },
  { user: "c", verb: "get", url: "/version", code: 200 },
  { user: "c", verb: "get", group: "", resource: "secrets", namespace: HOME, name: "key", code: 404 },
  { ...STATES, verb: "patch", code: 201 }, { ...STATES, verb: "patch", subresource: "status", code: 200 }, { ...STATES, verb: "create", subresource: "status", code: 201 },
];

function judge(requests: readonly AuditedRequest[], objects: readonly Rendered[] = OBJECTS, more: object = {}): ReturnType<typeof compareRights> {
  return compareRights({ rights: rightsOf(objects), requests, home: HOME, ...more });
}

describe("rights that objects give", () => {
  it("are those of the ServiceAccounts that workloads run as, one verb on one resource each", () => {
    assert.deepEqual(rightsOf(OBJECTS).map(describeRight), [
      "c: list services", "c: list nodes", "c: watch services", "c: watch nodes", "c: get /version",
      `c: get secrets in ${HOME} named key`,
      `c: create states.metallb.io in ${HOME}`, `c: create states/status.metallb.io in ${HOME}`, `c: patch states.metallb.io in ${HOME}`, `c: patch states/status.metallb.io in ${HOME}`,
    ]);
  });

  it("count once, whichever role gives them", () => {
    assert.equal(distinct([...rightsOf(OBJECTS), ...rightsOf(OBJECTS)]).length, rightsOf(OBJECTS).length);
  });

  it("need the role that is bound", () => {
    assert.throws(() => rightsOf(OBJECTS.filter(({ kind }) => kind !== "Role")), /there is no Role c/);
  });
});

describe("rights against requests", () => {
  it("meet when each right was needed and each need was met", () => {
    assert.deepEqual(judge(REQUESTS), { missing: [], surplus: [], idleExcuses: [] });
  });

  it.each(REQUESTS.map((request, index) => [`${request.verb} ${request.resource ?? request.url}`, index] as const))("show what is left over without a request: %s", (_, index) => {
    const { missing, surplus } = judge(REQUESTS.toSpliced(index, 1));
    assert.deepEqual(missing, []);
    assert.ok(surplus.length > 0);
  });

  it("show a verb that was added for nothing", () => {
    const { surplus } = judge(REQUESTS, [...OBJECTS, ...bound("c", "kube-system", [{ apiGroups: [""], resources: ["secrets"], verbs: ["list"] }]).map((object) => ({ ...object, metadata: { ...object.metadata, name: "c2" }, roleRef: { kind: "Role", name: "c2" } }))]);
    assert.deepEqual(surplus, ["c: list secrets in kube-system"]);
  });

  it("call a right everywhere left over when its own namespace was enough", () => {
    const requests = REQUESTS.map((request) => (request.resource === "services" ? { ...request, namespace: HOME } : request));
    assert.deepEqual(judge(requests).surplus, ["c: list services", "c: watch services"]);
  });

  it("don't count a right for another object's name, another namespace or another user", () => {
    const secret = REQUESTS.find(({ resource }) => resource === "secrets");
    assert.ok(secret);
    for (const change of [{ name: "other" }, { namespace: "default" }]) {
      const { missing, surplus } = judge(REQUESTS.map((request) => (request === secret ? { ...secret, ...change } : request)));
      assert.equal(missing.length, 1);
      assert.match(missing[0] ?? "", /by a right that is not the chart's$/);
      assert.deepEqual(surplus, [`c: get secrets in ${HOME} named key`]);
    }
    assert.deepEqual(judge(REQUESTS.map((request) => (request === secret ? { ...secret, user: "prometheus" } : request))), { missing: [], surplus: [`c: get secrets in ${HOME} named key`], idleExcuses: [] });
  });

  it("show a request that was refused, and don't take it for a use", () => {
    const refused = REQUESTS.map((request) => (request.url === "/version" ? { ...request, code: 403 } : request));
    assert.deepEqual(judge(refused), { missing: ["c: get /version, refused"], surplus: ["c: get /version"], idleExcuses: [] });
  });

  it("let a right go unused that is excused, and no longer than that", () => {
    const excuses = [{ right: "c: get /version", why: "for this test" }];
    assert.deepEqual(judge(REQUESTS.filter(({ url }) => url === undefined), OBJECTS, { excuses }), { missing: [], surplus: [], idleExcuses: [] });
    assert.deepEqual(judge(REQUESTS, OBJECTS, { excuses }).idleExcuses, ["c: get /version"]);
  });
});

describe.skipIf(findProgram("helm") === undefined)("the chart's rights", () => {
  const rights = (values: object): Right[] => rightsOf(renderedObjects({ values: JSON.stringify(values) }));

  it("are those of its two programs, none for every verb, group or resource", () => {
    const all = rights({});
    assert.deepEqual([...new Set(all.map(({ user }) => user))].toSorted(), ["herald-controller", "herald-speaker"]);
    assert.ok(!all.some(({ verb, group, resource, url }) => [verb, group, resource, url].some((word) => word?.includes("*"))));
  });

  it("fail the comparison as soon as a verb is added that nobody needs", () => {
    const objects = renderedObjects();
    const requests = rightsOf(objects).map(({ resource, ...right }): AuditedRequest => {
      const [base, subresource] = (resource ?? "").split("/");
      return { ...right, ...(resource === undefined ? {} : { resource: base ?? "" }), ...(subresource === undefined ? {} : { subresource }), code: 200 };
    });
    assert.deepEqual(judge(requests, objects), { missing: [], surplus: [], idleExcuses: [] });
    const wider = objects.map((object) => (object.kind === "Role" && object.metadata.name === "herald-speaker" ? { ...object, rules: object.rules?.map((rule) => (rule.resources?.includes("pods") === true ? { ...rule, verbs: [...rule.verbs, "delete"] } : rule)) ?? [] } : object));
    assert.deepEqual(judge(requests, wider), { missing: [], surplus: [`herald-speaker: delete pods in ${HOME}`], idleExcuses: [] });
    const narrower = objects.map((object) => (object.kind === "Role" && object.metadata.name === "herald-speaker" ? { ...object, rules: [] } : object));
    assert.ok(judge(requests, narrower).missing.includes(`herald-speaker: list pods in ${HOME}, by a right that is not the chart's`));
  });

  it("let neither read Secrets but those named, nor change pods, nodes or roles", () => {
    const all = rights({ crds: { enabled: false } });
    assert.ok(all.filter(({ resource, verb }) => resource === "secrets" && verb !== "create").every(({ name }) => name !== undefined));
    const changing = all.filter(({ verb, resource = "" }) => !["get", "list", "watch"].includes(verb) && /^(pods|nodes|services$|roles|clusterroles|rolebindings|clusterrolebindings|serviceaccounts)/.test(resource));
    assert.deepEqual(changing.map(describeRight), []);
  });
});
