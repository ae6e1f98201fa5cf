/**
 * MetalLB's former configuration, one ConfigMap (until its version 0.12), turned into resources. Pure: text in, objects and
 * warnings out. The result is judged by the parsers that read the real configuration.
 */
import { load } from "js-yaml";
import { parseBgp } from "../../config/parse-bgp.ts";
import { parseConfig } from "../../config/parse-config.ts";
import { FieldErrors, fieldOf, readBoolean, readInteger, readList, readObject, readOptionalString, readString, readStrings, type Field, type JsonObject } from "../../config/field-errors.ts";
import { parseGoDuration } from "../../config/flags.ts";
import type { CustomResource } from "../../kube/objects.ts";

/** Namespace of the resources when the ConfigMap names none. */
export const DEFAULT_NAMESPACE = "metallb-system";
/** Key of the ConfigMap's data that holds the configuration. */
const DATA_KEY = "config";
const DEFAULT_HOLD = "90s";
const MAX_NAME = 63;
/** Highest peerPort that the definition of BGPPeers takes; the ConfigMap took any. */
const MAX_PEER_PORT = 16_384;

export type Conversion =
  | { readonly kind: "converted"; readonly resources: readonly CustomResource[]; readonly warnings: readonly string[] }
  /** What is wrong, as sentences: with the source, or with what came of it. */
  | { readonly kind: "refused"; readonly errors: readonly string[] };

/** @param onlyData whether the text is the configuration alone, without the ConfigMap around it. Never throws. */
export function convertConfigMap(text: string, options: { readonly onlyData: boolean; readonly namespace?: string }): Conversion {
  try {
    const { data, namespace } = options.onlyData ? { data: text, namespace: undefined } : readConfigMap(text);
    return new Converter(options.namespace ?? namespace ?? DEFAULT_NAMESPACE).convert(load(data));
  } catch (error) {
    return { kind: "refused", errors: [error instanceof Error ? error.message : String(error)] };
  }
}

/** @throws Error when it is no ConfigMap with a configuration. */
function readConfigMap(text: string): { data: string; namespace: string | undefined } {
  const errors = new FieldErrors({ kind: "ConfigMap", name: "" });
  const root: Field = { value: load(text), path: "", errors };
  const object = readObject(root) ?? {};
  const metadataField = fieldOf(object, "metadata", root);
  const dataField = fieldOf(object, "data", root);
  const data = fieldOf(readObject(dataField) ?? {}, DATA_KEY, dataField).value;
  const namespace = readOptionalString(fieldOf(readObject(metadataField) ?? {}, "namespace", metadataField));
  if (object["kind"] !== "ConfigMap" || typeof data !== "string") throw new Error(`the source is no ConfigMap with a text at data.${DATA_KEY} (for that text alone, use --only-data)`);
  return { data, namespace };
}

class Converter {
  readonly #namespace: string;
  readonly #errors = new FieldErrors({ kind: "configuration", name: DATA_KEY });
  readonly #warnings: string[] = [];
  readonly #peers: CustomResource[] = [];
  readonly #pools: CustomResource[] = [];
  readonly #bgpAdvertisements: CustomResource[] = [];
  readonly #l2Advertisements: CustomResource[] = [];
  readonly #bfdProfiles: CustomResource[] = [];
  readonly #communities: CustomResource[] = [];

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  convert(value: unknown): Conversion {
    if (value === undefined || value === null) return { kind: "refused", errors: ["there is no configuration in it"] };
    const root: Field = { value, path: "", errors: this.#errors };
    const object = readObject(root) ?? {};
    const top = (name: string): Field => ({ ...fieldOf(object, name, root), path: name });
    this.#expect(object, "", ["peers", "address-pools", "bgp-communities", "bfd-profiles", "peer-autodiscovery"]);
    for (const peer of readList(top("peers"))) this.#peer(peer);
    for (const pool of readList(top("address-pools"))) this.#pool(pool);
    for (const profile of readList(top("bfd-profiles"))) this.#bfdProfile(profile);
    this.#community(top("bgp-communities"));
    if (Object.hasOwn(object, "peer-autodiscovery")) this.#warnings.push("peer-autodiscovery has no counterpart: it is left out");
    const errors = [...this.#errors.list.map(({ path, message }) => `${path}: ${message}`), ...(this.#errors.list.length === 0 ? this.#judge() : [])];
    if (errors.length > 0) return { kind: "refused", errors };
    const resources = [...this.#peers, ...this.#pools, ...this.#bgpAdvertisements, ...this.#l2Advertisements, ...this.#bfdProfiles, ...this.#communities];
    return { kind: "converted", resources, warnings: this.#warnings };
  }

  /** What the programs would say of the result. */
  #judge(): string[] {
    const layer2 = parseConfig({ pools: this.#pools, l2Advertisements: this.#l2Advertisements });
    const bgp = parseBgp({ peers: this.#peers, advertisements: this.#bgpAdvertisements, communities: this.#communities, bfdProfiles: this.#bfdProfiles, pools: this.#pools }, { nodes: [], references: "now" });
    return [layer2, bgp].flatMap((result) => (result.kind === "valid" ? [] : result.errors)).map(({ kind, name, path, message }) => `${kind} ${JSON.stringify(name)}: ${path}: ${message}`);
  }

  #peer(field: Field): void {
    const [, of] = this.#entry(field, ["my-asn", "peer-asn", "peer-address", "source-address", "peer-port", "hold-time", "keepalive-time", "router-id", "password", "bfd-profile", "ebgp-multihop", "node-selectors"]);
    const bfdProfile = readOptionalString(of("bfd-profile"));
    const nodeSelectors = readList(of("node-selectors")).map((selector) => this.#nodeSelector(selector));
    const peerPort = readInteger(of("peer-port")) || undefined;
    if (peerPort !== undefined && peerPort > MAX_PEER_PORT) this.#warnings.push(`${of("peer-port").path}: the API server takes no BGPPeer with a port over ${MAX_PEER_PORT}, and this is ${peerPort}`);
    this.#add(this.#peers, { version: "v1beta2", kind: "BGPPeer", name: `peer${this.#peers.length + 1}` }, {
      myASN: readInteger(of("my-asn")),
      peerASN: readInteger(of("peer-asn")),
      peerAddress: readOptionalString(of("peer-address")),
      sourceAddress: readOptionalString(of("source-address")),
      peerPort,
      holdTime: this.#seconds(of("hold-time")) ?? DEFAULT_HOLD,
      keepaliveTime: this.#seconds(of("keepalive-time")),
      routerID: readOptionalString(of("router-id")),
      nodeSelectors: nodeSelectors.length === 0 ? undefined : nodeSelectors,
      password: readOptionalString(of("password")),
      bfdProfile: bfdProfile === undefined ? undefined : this.#safeName(bfdProfile),
      ebgpMultiHop: readBoolean(of("ebgp-multihop"), false) || undefined,
    });
  }

  #nodeSelector(field: Field): object {
    const [, of] = this.#entry(field, ["match-labels", "match-expressions"]);
    const matchLabels = readObject(of("match-labels"));
    const matchExpressions = readList(of("match-expressions")).map((expression) => {
      const [, part] = this.#entry(expression, ["key", "operator", "values"]);
      return defined({ key: readOptionalString(part("key")), operator: readOptionalString(part("operator")), values: part("values").value === undefined ? undefined : readStrings(part("values")) });
    });
    return defined({ matchLabels, matchExpressions: matchExpressions.length === 0 ? undefined : matchExpressions });
  }

  #pool(field: Field): void {
    const [object, of] = this.#entry(field, ["name", "addresses", "auto-assign", "avoid-buggy-ips", "protocol", "bgp-advertisements"]);
    const given = readString(of("name"));
    if (given === undefined) return;
    const name = this.#safeName(given);
    this.#add(this.#pools, { kind: "IPAddressPool", name }, {
      addresses: readStrings(of("addresses")),
      autoAssign: Object.hasOwn(object, "auto-assign") ? readBoolean(of("auto-assign"), true) : undefined,
      avoidBuggyIPs: readBoolean(of("avoid-buggy-ips"), false) || undefined,
    });
    const protocol = readOptionalString(of("protocol"));
    const advertisements = readList(of("bgp-advertisements"));
    if (protocol === "layer2") this.#add(this.#l2Advertisements, { kind: "L2Advertisement", name: `l2advertisement${this.#l2Advertisements.length + 1}` }, { ipAddressPools: [name] });
    else if (protocol !== "bgp") this.#warnings.push(`pool ${JSON.stringify(given)}: protocol ${JSON.stringify(protocol ?? "")} is neither layer2 nor bgp: nothing announces the pool`);
    if (protocol !== "bgp") {
      if (advertisements.length > 0) this.#warnings.push(`pool ${JSON.stringify(given)}: its bgp-advertisements are left out, since its protocol is not bgp`);
      return;
    }
    if (advertisements.length === 0) this.#bgpAdvertisement(name, {});
    for (const advertisement of advertisements) {
      const [, part] = this.#entry(advertisement, ["aggregation-length", "aggregation-length-v6", "localpref", "communities"]);
      const communities = readStrings(part("communities"));
      this.#bgpAdvertisement(name, {
        aggregationLength: readInteger(part("aggregation-length")),
        aggregationLengthV6: readInteger(part("aggregation-length-v6")),
        localPref: readInteger(part("localpref")),
        communities: communities.length === 0 ? undefined : communities,
      });
    }
  }

  #bgpAdvertisement(pool: string, spec: Record<string, unknown>): void {
    this.#add(this.#bgpAdvertisements, { kind: "BGPAdvertisement", name: `bgpadvertisement${this.#bgpAdvertisements.length + 1}` }, { ...spec, ipAddressPools: [pool] });
  }

  #bfdProfile(field: Field): void {
    const [object, of] = this.#entry(field, ["name", "receive-interval", "transmit-interval", "echo-interval", "detect-multiplier", "echo-mode", "passive-mode", "minimum-ttl"]);
    const name = readString(of("name"));
    if (name === undefined) return;
    const mode = (key: string): boolean | undefined => (Object.hasOwn(object, key) ? readBoolean(of(key), false) : undefined);
    this.#add(this.#bfdProfiles, { kind: "BFDProfile", name: this.#safeName(name) }, {
      receiveInterval: readInteger(of("receive-interval")),
      transmitInterval: readInteger(of("transmit-interval")),
      echoInterval: readInteger(of("echo-interval")),
      detectMultiplier: readInteger(of("detect-multiplier")),
      echoMode: mode("echo-mode"),
      passiveMode: mode("passive-mode"),
      minimumTtl: readInteger(of("minimum-ttl")),
    });
  }

  #community(field: Field): void {
    const entries = Object.entries(readObject(field) ?? {});
    if (entries.length === 0) return;
    const communities = entries.map(([name, value]) => ({ name, value: readString({ value, path: `${field.path}.${name}`, errors: this.#errors }) }));
    this.#add(this.#communities, { kind: "Community", name: "communities" }, { communities: communities.toSorted((a, b) => (a.name < b.name ? -1 : 1)) });
  }

  /** An element of a list as an object, and a way to its fields; what the former configuration did not know is told. */
  #entry(field: Field, keys: readonly string[]): readonly [JsonObject, (name: string) => Field] {
    const object = readObject(field) ?? {};
    this.#expect(object, `${field.path}.`, keys);
    return [object, (name) => fieldOf(object, name, field)];
  }

  #expect(object: JsonObject, prefix: string, keys: readonly string[]): void {
    for (const key of Object.keys(object)) if (!keys.includes(key)) this.#errors.add(`${prefix}${key}`, "unknown key");
  }

  #add(list: CustomResource[], of: { readonly version?: string; readonly kind: string; readonly name: string }, spec: Record<string, unknown>): void {
    const { version = "v1beta1", kind, name } = of;
    if (list.some(({ metadata }) => metadata.name === name)) this.#errors.add(name, `two ${kind}s get this name: rename one`);
    list.push({ apiVersion: `metallb.io/${version}`, kind, metadata: { name, namespace: this.#namespace }, spec: defined(spec) });
  }

  /** Cut to whole seconds. */
  #seconds(field: Field): string | undefined {
    const text = readOptionalString(field);
    if (text === undefined) return undefined;
    const ms = parseGoDuration(text);
    if (ms === undefined) this.#errors.add(field.path, `${JSON.stringify(text)} is not a duration such as 90s or 1m30s`);
    return `${Math.trunc((ms ?? 0) / 1000)}s`;
  }

  /** A name that Kubernetes takes: lower case, from the first letter on, at most 63 characters. */
  #safeName(name: string): string {
    const safe = name.toLowerCase().replaceAll("_", "-").replace(/^[^a-z]+/, "").slice(0, MAX_NAME).replace(/[^a-z0-9]+$/, "");
    const warning = `the name ${JSON.stringify(name)} becomes ${JSON.stringify(safe)}`;
    if (safe !== name && !this.#warnings.includes(warning)) this.#warnings.push(warning);
    if (!/^[a-z0-9.-]+$/.test(safe)) this.#errors.add(name, "no name that Kubernetes takes can be made of it");
    return safe;
  }
}

/** Without the fields that are undefined. */
function defined(spec: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(spec).filter(([, value]) => value !== undefined));
}
