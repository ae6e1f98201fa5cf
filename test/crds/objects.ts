/** Custom resources for tests: what the API server must take, and what it must refuse and in which words. */

/** A resource as it is applied. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec?: unknown;
}

/** A resource of metallb.io; BGPPeer is of v1beta2 unless said otherwise. */
export function manifest(kind: string, spec: unknown, options: { name?: string; version?: string } = {}): Manifest {
  const version = options.version ?? (kind === "BGPPeer" ? "v1beta2" : "v1beta1");
  return { apiVersion: `metallb.io/${version}`, kind, metadata: { name: options.name ?? "x" }, ...(spec === undefined ? {} : { spec }) };
}

const peer = { myASN: 64512, peerASN: 64513, peerAddress: "10.0.0.1" };
const legacyPeer = (spec: object): Manifest => manifest("BGPPeer", { ...peer, ...spec }, { version: "v1beta1" });
const peerWithout = (field: keyof typeof peer, spec: object = {}): Manifest =>
  manifest("BGPPeer", { ...Object.fromEntries(Object.entries(peer).filter(([key]) => key !== field)), ...spec });
const peerWith = (spec: object): Manifest => manifest("BGPPeer", { ...peer, ...spec });
const poolWith = (spec: object): Manifest => manifest("IPAddressPool", { addresses: ["10.0.0.0/24"], ...spec });
const preference = (weight: unknown): Manifest => manifest("L2Advertisement", { preferredNodeSelectors: [{ weight, preference: {} }] });
const bfd = (spec: object): Manifest => manifest("BFDProfile", spec);
const selector = { matchLabels: { a: "b" }, matchExpressions: [{ key: "c", operator: "In", values: ["d"] }] };

/** Each names what is good about it. */
export const accepted: readonly (readonly [string, Manifest])[] = [
  ["a pool of every form of entry", poolWith({ addresses: ["10.0.0.0/24", "10.1.0.1-10.1.0.9", "10.2.0.1 - 10.2.0.9", "fd00::/64", "::ffff:10.3.0.0/120", "10.4.0.7/8"] })],
  ["a pool whose entry only config/ can judge", poolWith({ addresses: ["nonsense"] })],
  ["a pool reserved for some", poolWith({ autoAssign: false, avoidBuggyIPs: true, serviceAllocation: { priority: 50, namespaces: ["a"], namespaceSelectors: [selector], serviceSelectors: [selector] } })],
  ["an advertisement without spec", manifest("L2Advertisement", undefined)],
  ["an advertisement with everything", manifest("L2Advertisement", {
    ipAddressPools: ["p"], ipAddressPoolSelectors: [selector], nodeSelectors: [selector], serviceSelectors: [selector], interfaces: ["eth0"], preferredNodeSelectors: [{ weight: 1, preference: selector }],
  })],
  ["weight 100", preference(100)],
  ["a BGPAdvertisement without spec", manifest("BGPAdvertisement", undefined)],
  ["a BGPAdvertisement with everything", manifest("BGPAdvertisement", {
    aggregationLength: 24, aggregationLengthV6: 64, localPref: 4294967295, asPathPrepend: 10, communities: ["65535:65282", "name"], ipAddressPools: ["p"], ipAddressPoolSelectors: [selector], nodeSelectors: [selector], peers: ["r"],
  })],
  ["serviceSelectors with whole addresses", manifest("BGPAdvertisement", { serviceSelectors: [selector], aggregationLength: 32, aggregationLengthV6: 128 })],
  ["no serviceSelectors with an aggregate", manifest("BGPAdvertisement", { serviceSelectors: [], aggregationLength: 24 })],
  ["a peer with everything", peerWith({
    localASN: 1, sourceAddress: "10.0.0.9", peerPort: 16384, holdTime: "90s", keepaliveTime: "30s", connectTime: "65535s", routerID: "1.1.1.1", nodeSelectors: [selector], passwordSecret: { name: "s" },
    bfdProfile: "b", enableGracefulRestart: true, ebgpMultiHop: true, vrf: "v", disableMP: true, dualStackAddressFamily: true,
  })],
  ["the largest ASN", peerWith({ myASN: 4294967295 })],
  ["a dynamic ASN beside peerASN 0", peerWith({ peerASN: 0, dynamicASN: "external" })],
  ["an unnumbered peer", peerWithout("peerAddress", { interface: "eth0" })],
  ["an unnumbered peer with an empty address", peerWith({ peerAddress: "", interface: "eth0" })],
  ["hold time 0", peerWith({ holdTime: "0s" })],
  ["the shortest times", peerWith({ holdTime: "3s", connectTime: "1s" })],
  ["an internal peer", peerWith({ peerASN: 64512 })],
  ["a password beside an empty secret", peerWith({ password: "p", passwordSecret: {} })],
  ["a peer of the former version", legacyPeer({ peerPort: 0, nodeSelectors: [{ matchLabels: { a: "b" }, matchExpressions: [{ key: "c", operator: "In", values: ["d"] }] }] })],
  ["a BFD profile with the smallest numbers", bfd({ receiveInterval: 10, transmitInterval: 10, echoInterval: 10, detectMultiplier: 2, minimumTtl: 1, echoMode: true, passiveMode: true })],
  ["a BFD profile with the largest numbers", bfd({ receiveInterval: 60000, transmitInterval: 60000, echoInterval: 60000, detectMultiplier: 255, minimumTtl: 254 })],
  ["communities", manifest("Community", { communities: [{ name: "a", value: "1:2" }, { name: "b", value: "large:1:2:3" }] })],
];

/** Each with a part of the message that it must be refused with. */
export const refused: readonly (readonly [Manifest, string])[] = [
  [manifest("IPAddressPool", undefined), "spec: Required value"],
  [manifest("IPAddressPool", {}), "spec.addresses: Required value"],
  [poolWith({ addresses: [] }), "spec.addresses in body should have at least 1 items"],
  [poolWith({ addresses: [7] }), "spec.addresses[0] in body must be of type string"],
  [poolWith({ autoAssign: "yes" }), "spec.autoAssign in body must be of type boolean"],
  [poolWith({ serviceAllocation: { priority: "1" } }), "spec.serviceAllocation.priority in body must be of type integer"],
  [poolWith({ color: "red" }), 'unknown field "spec.color"'],
  [preference(0), "should be greater than or equal to 1"],
  [preference(101), "should be less than or equal to 100"],
  [manifest("L2Advertisement", { preferredNodeSelectors: [{ weight: 1 }] }), "preference: Required value"],
  [manifest("L2Advertisement", { preferredNodeSelectors: [{ preference: {} }] }), "weight: Required value"],
  [manifest("L2Advertisement", { nodeSelectors: [{ matchExpressions: [{ key: "a" }] }] }), "operator: Required value"],
  [manifest("BGPAdvertisement", { aggregationLength: 0 }), "should be greater than or equal to 1"],
  [manifest("BGPAdvertisement", { aggregationLength: 33 }), "should be less than or equal to 32"],
  [manifest("BGPAdvertisement", { aggregationLengthV6: 129 }), "should be less than or equal to 128"],
  [manifest("BGPAdvertisement", { localPref: 4294967296 }), "should be less than or equal to 4294967295"],
  [manifest("BGPAdvertisement", { localPref: -1 }), "should be greater than or equal to 0"],
  [manifest("BGPAdvertisement", { asPathPrepend: 0 }), "should be greater than or equal to 1"],
  [manifest("BGPAdvertisement", { asPathPrepend: 11 }), "should be less than or equal to 10"],
  [manifest("BGPAdvertisement", { serviceSelectors: [selector], aggregationLength: 24 }), "serviceSelectors cannot be combined with an aggregationLength"],
  [manifest("BGPAdvertisement", { serviceSelectors: [selector], aggregationLengthV6: 64 }), "serviceSelectors cannot be combined with an aggregationLength"],
  [manifest("BGPPeer", undefined), "spec: Required value"],
  [peerWithout("myASN"), "spec.myASN: Required value"],
  [peerWith({ myASN: 0 }), "myASN must not be 0"],
  [peerWith({ myASN: 4294967296 }), "should be less than or equal to 4294967295"],
  [peerWith({ localASN: 0 }), "should be greater than or equal to 1"],
  [peerWith({ dynamicASN: "other" }), 'Unsupported value: "other"'],
  [peerWith({ dynamicASN: "internal" }), "exactly one of peerASN and dynamicASN must be set"],
  [peerWithout("peerASN"), "exactly one of peerASN and dynamicASN must be set"],
  [peerWith({ interface: "eth0" }), "exactly one of peerAddress and interface must be set"],
  [peerWithout("peerAddress"), "exactly one of peerAddress and interface must be set"],
  [peerWith({ peerPort: 0 }), "should be greater than or equal to 1"],
  [peerWith({ peerPort: 16385 }), "should be less than or equal to 16384"],
  [peerWith({ holdTime: "2s" }), "holdTime must be 0s or at least 3s"],
  [peerWith({ holdTime: "soon" }), "spec.holdTime"],
  [peerWith({ connectTime: "0s" }), "connectTime must be between 1s and 65535s"],
  [peerWith({ connectTime: "65536s" }), "connectTime must be between 1s and 65535s"],
  [peerWith({ connectTime: "1500ms" }), "connectTime must be a whole number of seconds"],
  [peerWith({ peerASN: 64512, ebgpMultiHop: true }), "ebgpMultiHop is for external peers"],
  [peerWith({ password: "p", passwordSecret: { name: "s" } }), "password and passwordSecret exclude each other"],
  [manifest("BGPPeer", { myASN: 64512, peerASN: 64513 }, { version: "v1beta1" }), "exactly one of peerAddress and interface must be set"],
  [legacyPeer({ peerPort: 16385 }), "should be less than or equal to 16384"],
  [legacyPeer({ myASN: 0 }), "myASN must not be 0"],
  [legacyPeer({ peerASN: 0 }), "exactly one of peerASN and dynamicASN must be set"],
  [legacyPeer({ peerASN: 64512, ebgpMultiHop: true }), "ebgpMultiHop is for external peers"],
  [legacyPeer({ holdTime: "1s" }), "holdTime must be 0s or at least 3s"],
  [legacyPeer({ dynamicASN: "internal" }), "exactly one of peerASN and dynamicASN must be set"],
  [legacyPeer({ color: "red" }), 'unknown field "spec.color"'],
  [legacyPeer({ nodeSelectors: [{ matchExpressions: [{ key: "a", operator: "In", values: [] }] }] }), "should have at least 1 items"],
  ...["receiveInterval", "transmitInterval", "echoInterval"].flatMap((field): [Manifest, string][] => [
    [bfd({ [field]: 9 }), "should be greater than or equal to 10"],
    [bfd({ [field]: 60001 }), "should be less than or equal to 60000"],
  ]),
  [bfd({ detectMultiplier: 1 }), "should be greater than or equal to 2"],
  [bfd({ detectMultiplier: 256 }), "should be less than or equal to 255"],
  [bfd({ minimumTtl: 0 }), "should be greater than or equal to 1"],
  [bfd({ minimumTtl: 255 }), "should be less than or equal to 254"],
  [manifest("Community", { communities: [{ name: 7 }] }), "must be of type string"],
];
