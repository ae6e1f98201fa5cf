/**
 * Admission of Herald's resources: the incoming object is put among the existing ones, and the same parsers that read the
 * configuration judge the whole. Refused is what the change itself makes wrong: a mistake that was there before, in another
 * object, never stands in the way of mending this one. Pure, but for the lists that are handed in.
 */
import type { FieldError, Labels } from "../../config/config.ts";
import { parseBgp, type BgpContext, type BgpResources } from "../../config/parse-bgp.ts";
import { parseConfig } from "../../config/parse-config.ts";
import { bfdProfiles, bgpAdvertisements, bgpPeers, communities, type CustomResource, ipAddressPools, l2Advertisements, type ResourceType } from "../../kube/objects.ts";
import { type AdmissionRequest, type AdmissionVerdict, describeFieldError } from "./review.ts";

/** What the API server holds now. Both may reject: then nothing is judged, and failurePolicy decides. */
export interface ExistingObjects {
  /** All objects of the kind in Herald's namespace. */
  list(type: ResourceType<CustomResource>): Promise<readonly CustomResource[]>;
  /** Labels of all nodes. */
  nodes(): Promise<readonly (Labels | undefined)[]>;
}

interface Lists {
  readonly own: readonly CustomResource[];
  readonly pools: readonly CustomResource[];
  readonly nodes: BgpContext["nodes"];
}

interface Validation {
  readonly type: ResourceType<CustomResource>;
  readonly needsPools?: boolean;
  readonly needsNodes?: boolean;
  readonly errors: (lists: Lists) => readonly FieldError[];
  readonly warnings?: (object: CustomResource) => readonly string[];
  readonly onDelete?: (request: AdmissionRequest, existing: ExistingObjects) => Promise<AdmissionVerdict>;
}

/** References to what may come later are not looked up: objects are applied one after another. */
function bgpErrors(resources: BgpResources, nodes: Lists["nodes"]): readonly FieldError[] {
  const result = parseBgp(resources, { nodes, references: "later" });
  return result.kind === "valid" ? [] : result.errors;
}

function layer2Errors(pools: readonly CustomResource[], advertisements: readonly CustomResource[]): readonly FieldError[] {
  const result = parseConfig({ pools, l2Advertisements: advertisements });
  return result.kind === "valid" ? [] : result.errors;
}

/** Told of what has no effect without BGP, and whose status would say nothing of that. */
const NO_BGP = "Herald does not speak BGP yet: this is kept and checked, and nothing is announced by it";

/** By the path that the API server calls. */
export const validations: ReadonlyMap<string, Validation> = new Map<string, Validation>([
  ["/validate-metallb-io-v1beta1-ipaddresspool", { type: ipAddressPools, errors: ({ own }) => layer2Errors(own, []) }],
  ["/validate-metallb-io-v1beta1-l2advertisement", { type: l2Advertisements, needsPools: true, errors: ({ own, pools }) => layer2Errors(pools, own) }],
  ["/validate-metallb-io-v1beta1-bgpadvertisement", { type: bgpAdvertisements, needsPools: true, needsNodes: true, errors: ({ own, pools, nodes }) => bgpErrors({ advertisements: own, pools }, nodes), warnings: () => [NO_BGP] }],
  ["/validate-metallb-io-v1beta1-community", { type: communities, errors: ({ own }) => bgpErrors({ communities: own }, []) }],
  ["/validate-metallb-io-v1beta1-bfdprofile", { type: bfdProfiles, errors: ({ own }) => bgpErrors({ bfdProfiles: own }, []), onDelete: refuseWhileUsed }],
  ["/validate-metallb-io-v1beta2-bgppeer", { type: bgpPeers, needsNodes: true, errors: ({ own, nodes }) => bgpErrors({ peers: own }, nodes), warnings: peerWarnings }],
]);

/** Errors told of at once; a configuration rarely has more than a few. */
const MAX_ERRORS_TOLD = 10;

/**
 * Judges one request. @param namespace Herald's own, where its resources must be.
 * Rejects when the existing objects can't be listed.
 */
export async function judge(validation: Validation, request: AdmissionRequest, context: { readonly namespace: string; readonly existing: ExistingObjects }): Promise<AdmissionVerdict> {
  const { namespace, existing } = context;
  const { object, oldObject } = request;
  if (request.operation === "DELETE") return request.namespace === namespace && validation.onDelete !== undefined ? validation.onDelete(request, existing) : {};
  if (object === undefined || request.operation === "CONNECT") return {};
  if (request.namespace !== namespace) {
    // Nobody reads it there; what is there already may be changed, so that it can be cleaned up.
    return request.operation === "CREATE" ? { refusal: `${validation.type.kind} ${JSON.stringify(request.name)}: resource must be created in ${namespace} namespace` } : {};
  }
  const warnings = validation.warnings?.(object) ?? [];
  if (oldObject !== undefined && changesNothing(oldObject, object)) return { warnings };
  const [all, pools] = await Promise.all([existing.list(validation.type), validation.needsPools === true ? existing.list(ipAddressPools) : []]);
  const incoming = named(object, request.name);
  const others = all.filter(({ metadata }) => metadata.name !== request.name);
  const before = oldObject === undefined ? others : [...others, named(oldObject, request.name)];
  const blame = (nodes: Lists["nodes"]): readonly FieldError[] => {
    const after = validation.errors({ own: [...others, incoming], pools, nodes });
    if (after.length === 0) return [];
    const known = new Set(validation.errors({ own: before, pools, nodes }).map(describeFieldError));
    return after.filter((error) => (error.kind === validation.type.kind && error.name === request.name) || !known.has(describeFieldError(error)));
  };
  let blamed = blame("any");
  // Nodes are many and large; they are asked for only where they may clear the object.
  if (blamed.length > 0 && validation.needsNodes === true) blamed = blame(await existing.nodes());
  return blamed.length === 0 ? { warnings } : { refusal: tell(blamed), warnings };
}

/** An object on its way out, or one whose spec and labels stay: finalizers and annotations are no configuration. */
function changesNothing(oldObject: CustomResource, object: CustomResource): boolean {
  if (object.metadata.deletionTimestamp !== undefined) return true;
  // The API server writes the keys of both in the same order.
  const text = ({ spec, metadata: { labels = {} } }: CustomResource): string => JSON.stringify({ spec, labels });
  return text(oldObject) === text(object);
}

function named(object: CustomResource, name: string): CustomResource {
  return { ...object, metadata: { ...object.metadata, name } };
}

function tell(errors: readonly FieldError[]): string {
  const told = errors.slice(0, MAX_ERRORS_TOLD).map(describeFieldError);
  const more = errors.length - told.length;
  return [...told, ...(more === 0 ? [] : [`and ${more} more`])].join("; ");
}

async function refuseWhileUsed(request: AdmissionRequest, existing: ExistingObjects): Promise<AdmissionVerdict> {
  const peers = await existing.list(bgpPeers);
  const user = peers.find(({ metadata, spec }) => metadata.deletionTimestamp === undefined && typeof spec === "object" && spec !== null && "bfdProfile" in spec && spec.bfdProfile === request.name);
  return user === undefined ? {} : { refusal: `failed to delete BFDProfile ${JSON.stringify(request.name)}, used by BGPPeer ${JSON.stringify(user.metadata.name)}` };
}

function peerWarnings({ spec }: CustomResource): readonly string[] {
  const deprecated = typeof spec === "object" && spec !== null && "disableMP" in spec && spec.disableMP === true;
  return [NO_BGP, ...(deprecated ? ["spec.disableMP is deprecated and has no effect"] : [])];
}
