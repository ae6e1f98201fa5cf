/**
 * The parts of Kubernetes objects that Herald reads or writes, spelled as the API spells them. Fields that nobody reads
 * are left out on purpose: informers strip them, which is most of a controller's memory.
 */

export interface ObjectMeta {
  name: string;
  namespace?: string;
  generateName?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
}

/** A kind and where the API server serves it. `T` is the shape of its objects (a phantom: no value carries it). */
export interface ResourceType<T extends KubeObject> {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly shape?: T;
}

export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  observedGeneration?: number;
  lastTransitionTime: string;
  reason: string;
  message: string;
}

export interface Service extends KubeObject {
  spec: {
    type?: "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName";
    clusterIP?: string;
    clusterIPs?: string[];
    ipFamilies?: ("IPv4" | "IPv6")[];
    ipFamilyPolicy?: "SingleStack" | "PreferDualStack" | "RequireDualStack";
    loadBalancerIP?: string;
    loadBalancerClass?: string;
    externalTrafficPolicy?: "Cluster" | "Local";
    selector?: Record<string, string>;
    ports?: ServicePort[];
  };
  status?: {
    loadBalancer?: { ingress?: LoadBalancerIngress[] };
    conditions?: Condition[];
  };
}

export interface ServicePort {
  name?: string;
  protocol?: "TCP" | "UDP" | "SCTP";
  port: number;
}

export interface LoadBalancerIngress {
  ip?: string;
  hostname?: string;
  ipMode?: "VIP" | "Proxy";
}

export interface Node extends KubeObject {
  status?: {
    conditions?: { type: string; status: string }[];
    addresses?: { type: string; address: string }[];
  };
}

export interface Namespace extends KubeObject {}

export interface Pod extends KubeObject {
  spec?: { nodeName?: string; hostNetwork?: boolean; containers?: Container[] };
  status?: { phase?: string; podIP?: string; podIPs?: { ip: string }[]; hostIP?: string; hostIPs?: { ip: string }[] };
}

export interface Container {
  name: string;
  image?: string;
  command?: string[];
  args?: string[];
}

/** Of a ValidatingWebhookConfiguration: where its webhooks are served. */
export interface WebhookConfiguration extends KubeObject {
  webhooks?: { clientConfig?: { service?: { namespace?: string; name?: string } } }[] | null;
}

export interface Deployment extends KubeObject {}

export interface Secret extends KubeObject {
  type?: string;
  /** Base64. */
  data?: Record<string, string>;
}

export interface EndpointSlice extends KubeObject {
  addressType: "IPv4" | "IPv6" | "FQDN";
  endpoints?: Endpoint[] | null;
}

export interface Endpoint {
  addresses: string[];
  nodeName?: string;
  conditions?: { ready?: boolean; serving?: boolean; terminating?: boolean };
}

export interface Lease extends KubeObject {
  spec?: {
    holderIdentity?: string | null;
    leaseDurationSeconds?: number | null;
    acquireTime?: string | null;
    renewTime?: string | null;
    leaseTransitions?: number | null;
  };
}

export interface CoreEvent extends KubeObject {
  involvedObject: { apiVersion?: string; kind: string; namespace?: string; name: string; uid?: string; resourceVersion?: string };
  type: "Normal" | "Warning";
  reason: string;
  message: string;
  source: { component: string; host?: string };
  firstTimestamp: string;
  lastTimestamp: string;
  count: number;
  reportingComponent?: string;
  reportingInstance?: string;
}

/** Who bears a token; the API server answers the creation, and stores nothing. */
export interface TokenReview extends KubeObject {
  spec: { token: string };
  status?: {
    authenticated?: boolean;
    user?: { username?: string; uid?: string; groups?: string[]; extra?: Record<string, string[]> };
    error?: string;
  };
}

/** What a user may do; the API server answers the creation, and stores nothing. */
export interface SubjectAccessReview extends KubeObject {
  spec: { user: string; uid?: string; groups?: string[]; extra?: Record<string, string[]>; nonResourceAttributes: { path: string; verb: string } };
  status?: { allowed?: boolean; reason?: string };
}

/** A custom resource before config/ has looked at it: `spec` and `status` are whatever the API server let through. */
export interface CustomResource extends KubeObject {
  spec?: unknown;
  status?: unknown;
}

function core<T extends KubeObject>(plural: string, kind: string, namespaced = true): ResourceType<T> {
  return { group: "", version: "v1", plural, kind, namespaced };
}

export const services: ResourceType<Service> = core("services", "Service");
export const nodes: ResourceType<Node> = core("nodes", "Node", false);
export const namespaces: ResourceType<Namespace> = core("namespaces", "Namespace", false);
export const pods: ResourceType<Pod> = core("pods", "Pod");
export const secrets: ResourceType<Secret> = core("secrets", "Secret");
export const events: ResourceType<CoreEvent> = core("events", "Event");
export const deployments: ResourceType<Deployment> = { group: "apps", version: "v1", plural: "deployments", kind: "Deployment", namespaced: true };
export const endpointSlices: ResourceType<EndpointSlice> = { group: "discovery.k8s.io", version: "v1", plural: "endpointslices", kind: "EndpointSlice", namespaced: true };
export const leases: ResourceType<Lease> = { group: "coordination.k8s.io", version: "v1", plural: "leases", kind: "Lease", namespaced: true };

export const validatingWebhooks: ResourceType<WebhookConfiguration> = { group: "admissionregistration.k8s.io", version: "v1", plural: "validatingwebhookconfigurations", kind: "ValidatingWebhookConfiguration", namespaced: false };
export const tokenReviews: ResourceType<TokenReview> = { group: "authentication.k8s.io", version: "v1", plural: "tokenreviews", kind: "TokenReview", namespaced: false };
export const subjectAccessReviews: ResourceType<SubjectAccessReview> = { group: "authorization.k8s.io", version: "v1", plural: "subjectaccessreviews", kind: "SubjectAccessReview", namespaced: false };

function metallb(plural: string, kind: string, version = "v1beta1"): ResourceType<CustomResource> {
  return { group: "metallb.io", version, plural, kind, namespaced: true };
}

export const ipAddressPools = metallb("ipaddresspools", "IPAddressPool");
export const l2Advertisements = metallb("l2advertisements", "L2Advertisement");
export const bgpPeers = metallb("bgppeers", "BGPPeer", "v1beta2");
export const bgpAdvertisements = metallb("bgpadvertisements", "BGPAdvertisement");
export const communities = metallb("communities", "Community");
export const bfdProfiles = metallb("bfdprofiles", "BFDProfile");
export const serviceL2Statuses = metallb("servicel2statuses", "ServiceL2Status");
export const configurationStates = metallb("configurationstates", "ConfigurationState");
