/**
 * The TLS flags of Kubernetes programs (`--tls-min-version`, `--tls-cipher-suites`, `--tls-curve-preferences`), read into what
 * Node's TLS takes. Names of suites are IANA's, curves are numbers of IANA's registry of TLS supported groups, or names. Pure.
 */

/** What a TLS server is made with, spelled as `node:tls` does. */
export interface TlsSettings {
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  /** OpenSSL's names, colon-separated; TLS 1.3's three suites are always among them. */
  readonly ciphers: string;
  /** OpenSSL's names of groups, colon-separated, most wanted first. */
  readonly ecdhCurve: string;
  /** Kind of key that a certificate made for these suites needs. */
  readonly key: "ecdsa" | "rsa";
}

/** The flags' texts; "" is the default of each. */
export interface TlsFlagTexts {
  readonly minVersion: string;
  readonly cipherSuites: string;
  readonly curvePreferences: string;
}

export type ParsedTlsSettings = { readonly kind: "settings"; readonly settings: TlsSettings } | { readonly kind: "error"; readonly message: string };

const TLS13_SUITES = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/** Suites of TLS 1.2 by IANA's name, as OpenSSL calls them. RFC 5289, 7905; the later ones only for clients that know nothing better. */
const TLS12_SUITES: ReadonlyMap<string, string> = new Map([
  ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"],
  ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"],
  ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"],
  ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"],
  ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"],
  ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"],
  ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"],
  ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"],
  ["TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "ECDHE-ECDSA-AES128-SHA256"],
  ["TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", "ECDHE-RSA-AES128-SHA256"],
  ["TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "ECDHE-ECDSA-AES128-SHA"],
  ["TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "ECDHE-RSA-AES128-SHA"],
  ["TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "ECDHE-ECDSA-AES256-SHA"],
  ["TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "ECDHE-RSA-AES256-SHA"],
  ["TLS_RSA_WITH_AES_128_GCM_SHA256", "AES128-GCM-SHA256"],
  ["TLS_RSA_WITH_AES_256_GCM_SHA384", "AES256-GCM-SHA384"],
  ["TLS_RSA_WITH_AES_128_CBC_SHA", "AES128-SHA"],
  ["TLS_RSA_WITH_AES_256_CBC_SHA", "AES256-SHA"],
]);

/** What TLS 1.2 gets when nobody asks for suites: forward secrecy and authenticated encryption. */
const DEFAULT_TLS12_SUITES = [...new Set([...TLS12_SUITES].filter(([name]) => /_ECDHE_.*(GCM|POLY1305)/.test(name)).map(([, openssl]) => openssl))];

/** Groups by number of the registry, with the other names that users know them by. RFC 8446 §4.2.7, 7748. */
const GROUPS: readonly { readonly id: number; readonly openssl: string; readonly names: readonly string[] }[] = [
  { id: 23, openssl: "prime256v1", names: ["secp256r1", "CurveP256", "P-256"] },
  { id: 24, openssl: "secp384r1", names: ["secp384r1", "CurveP384", "P-384"] },
  { id: 25, openssl: "secp521r1", names: ["secp521r1", "CurveP521", "P-521"] },
  { id: 29, openssl: "X25519", names: ["X25519", "x25519"] },
  { id: 4587, openssl: "SecP256r1MLKEM768", names: ["SecP256r1MLKEM768"] },
  { id: 4588, openssl: "X25519MLKEM768", names: ["X25519MLKEM768"] },
  { id: 4589, openssl: "SecP384r1MLKEM1024", names: ["SecP384r1MLKEM1024"] },
];
const DEFAULT_GROUPS = "X25519MLKEM768:X25519:prime256v1:secp384r1:secp521r1";

/** Reads the three flags. The error is a sentence that names the flag. Never throws. */
export function parseTlsSettings(texts: TlsFlagTexts): ParsedTlsSettings {
  const minVersion = readMinVersion(texts.minVersion);
  if (minVersion === undefined) return error(`--tls-min-version: ${quoted(texts.minVersion)} is none of VersionTLS12, VersionTLS13`);
  const suites = listOf(texts.cipherSuites);
  if (suites.length > 0 && minVersion === "TLSv1.3") return error("--tls-cipher-suites: suites can be chosen for TLS 1.2 only, and --tls-min-version is VersionTLS13");
  const chosen: string[] = [];
  for (const suite of suites) {
    const openssl = TLS12_SUITES.get(suite);
    if (openssl !== undefined) chosen.push(openssl);
    else if (!TLS13_SUITES.includes(suite)) return error(`--tls-cipher-suites: ${quoted(suite)} is none of ${[...TLS12_SUITES.keys()].join(", ")}`);
  }
  const groups = readGroups(listOf(texts.curvePreferences));
  if (groups.kind === "error") return groups;
  const tls12 = chosen.length > 0 ? chosen : DEFAULT_TLS12_SUITES;
  const ciphers = [...TLS13_SUITES, ...(minVersion === "TLSv1.3" ? [] : tls12)].join(":");
  // With TLS 1.3 both kinds of key do; RSA's suites of TLS 1.2 want an RSA key.
  const key = tls12.some((suite) => suite.includes("ECDSA")) ? "ecdsa" : "rsa";
  return { kind: "settings", settings: { minVersion, ciphers, ecdhCurve: groups.text, key } };
}

function readMinVersion(text: string): TlsSettings["minVersion"] | undefined {
  switch (text) {
    case "":
    case "VersionTLS13":
      return "TLSv1.3";
    case "VersionTLS12":
      return "TLSv1.2";
    default:
      return undefined;
  }
}

function readGroups(wanted: readonly string[]): { kind: "groups"; text: string } | { kind: "error"; message: string } {
  if (wanted.length === 0) return { kind: "groups", text: DEFAULT_GROUPS };
  const chosen: string[] = [];
  for (const name of wanted) {
    const group = GROUPS.find(({ id, names }) => String(id) === name || names.includes(name));
    if (group === undefined) return error(`--tls-curve-preferences: ${quoted(name)} is none of ${GROUPS.map(({ id, openssl }) => `${id} (${openssl})`).join(", ")}`);
    if (chosen.includes(group.openssl)) return error(`--tls-curve-preferences: ${quoted(name)} is there twice`);
    chosen.push(group.openssl);
  }
  return { kind: "groups", text: chosen.join(":") };
}

function listOf(text: string): string[] {
  return text === "" ? [] : text.split(",").map((part) => part.trim());
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function error(message: string): { kind: "error"; message: string } {
  return { kind: "error", message };
}
