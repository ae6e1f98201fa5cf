/** Rights that a chart gives to Herald's programs, held against what they asked the API server for. Pure. */
import type { AuditedRequest } from "../lab/full/audit-trail.ts";
import type { Rendered } from "./objects.ts";

const HTTP_CREATED = 201;
const HTTP_FORBIDDEN = 403;

/** One verb on one resource, or on one URL. */
export interface Right {
  /** Name of the ServiceAccount. */
  readonly user: string;
  readonly verb: string;
  readonly group?: string;
  /** With the subresource: `services/status`. */
  readonly resource?: string;
  /** Where; everywhere when left out. */
  readonly namespace?: string;
  /** Only for the object of this name. */
  readonly name?: string;
  readonly url?: string;
}

/** A right that may go unused, and why. `right` is as `describeRight` has it. */
export interface Excuse {
  readonly right: string;
  readonly why: string;
}

interface Bound {
  readonly roleRef: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { readonly kind: string; readonly name: string; readonly namespace?: string }[];
}

/** Every right that these objects give to the ServiceAccounts that their Deployments and DaemonSets run as, each once. */
export function rightsOf(objects: readonly Rendered[]): Right[] {
  const users = new Set(objects.filter(({ kind }) => kind === "Deployment" || kind === "DaemonSet").map(({ spec }) => String((spec?.template?.spec as { serviceAccountName?: string } | undefined)?.serviceAccountName ?? "default")));
  const rights = objects.filter(({ kind }) => kind === "RoleBinding" || kind === "ClusterRoleBinding").flatMap((binding) => {
    const { roleRef, subjects = [] } = binding as unknown as Bound;
    const role = objects.find(({ kind, metadata }) => kind === roleRef.kind && metadata.name === roleRef.name);
    if (role === undefined) throw new Error(`${binding.kind} ${binding.metadata.name}: there is no ${roleRef.kind} ${roleRef.name}`);
    const namespace = binding.kind === "RoleBinding" ? binding.metadata.namespace : undefined;
    return subjects.filter(({ kind, name }) => kind === "ServiceAccount" && users.has(name)).flatMap(({ name }) => expand(name, role.rules ?? [], namespace));
  });
  return distinct(rights);
}

function expand(user: string, rules: NonNullable<Rendered["rules"]>, namespace: string | undefined): Right[] {
  const place = namespace === undefined ? {} : { namespace };
  return rules.flatMap(({ verbs, apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [] }) => verbs.flatMap((verb): Right[] => [
    ...nonResourceURLs.map((url) => ({ user, verb, url })),
    ...apiGroups.flatMap((group) => resources.flatMap((resource) => {
      const right = { user, verb, group, resource, ...place };
      return resourceNames.length === 0 ? [right] : resourceNames.map((name) => ({ ...right, name }));
    })),
  ]));
}

/** The rights of several renderings together, each once. */
export function distinct(rights: readonly Right[]): Right[] {
  return [...new Map(rights.map((right) => [describeRight(right), right])).values()];
}

/** A right in words: "herald-speaker: get secrets in metallb-system named x". */
export function describeRight({ user, verb, group = "", resource, namespace, name, url }: Right): string {
  const what = url ?? (group === "" ? resource : `${resource}.${group}`);
  return `${user}: ${verb} ${what}${namespace === undefined ? "" : ` in ${namespace}`}${name === undefined ? "" : ` named ${name}`}`;
}

/** What is wrong, a line each; empty when rights and requests meet. */
export interface Judgement {
  /** Requests that were refused, or that others' rights alone allow. */
  readonly missing: readonly string[];
  /** Rights that no request needed. A right everywhere that was used in its own namespace alone is one. */
  readonly surplus: readonly string[];
  /** Excuses for rights that were used, or that nobody has. */
  readonly idleExcuses: readonly string[];
}

/**
 * Compares rights with requests. A patch that created its object (code 201: a server-side apply) needed the verb `create` too.
 * @param home Herald's namespace
 */
export function compareRights({ rights, requests, home, excuses = [] }: { readonly rights: readonly Right[]; readonly requests: readonly AuditedRequest[]; readonly home: string; readonly excuses?: readonly Excuse[] }): Judgement {
  const users = new Set(rights.map(({ user }) => user));
  const needs = requests.filter(({ user }) => users.has(user)).flatMap(needsOf);
  const missing = needs.filter((need) => need.code === HTTP_FORBIDDEN || !rights.some((right) => allows(right, need)));
  const met = needs.filter(({ code }) => code !== HTTP_FORBIDDEN);
  const unused = new Set(rights.filter((right) => !met.some((need) => allows(right, need) && (right.namespace !== undefined || need.namespace !== home))).map(describeRight));
  const excused = new Set(excuses.map(({ right }) => right));
  return {
    missing: [...new Set(missing.map(describeNeed))].toSorted(),
    surplus: [...unused].filter((right) => !excused.has(right)).toSorted(),
    idleExcuses: [...excused].filter((right) => !unused.has(right)).toSorted(),
  };
}

/** What a request needs a right for. */
interface Need extends Right {
  readonly code: number;
}

function needsOf({ subresource, resource, ...request }: AuditedRequest): Need[] {
  const need: Need = { ...request, ...(resource === undefined ? {} : { resource: subresource === undefined ? resource : `${resource}/${subresource}` }) };
  const alsoCreated = request.verb === "patch" && request.code === HTTP_CREATED && subresource === undefined;
  return alsoCreated ? [need, { ...need, verb: "create" }] : [need];
}

function allows(right: Right, need: Need): boolean {
  if (right.user !== need.user || right.verb !== need.verb || right.url !== need.url || right.resource !== need.resource || right.group !== need.group) return false;
  if (right.namespace !== undefined && right.namespace !== need.namespace) return false;
  return right.name === undefined || right.name === need.name;
}

function describeNeed(need: Need): string {
  return `${describeRight(need)}${need.code === HTTP_FORBIDDEN ? ", refused" : ", by a right that is not the chart's"}`;
}
