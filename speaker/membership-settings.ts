/**
 * How the command line says that a speaker takes part in the membership protocol. It does if, and only if, an address to
 * bind and the labels of the speakers' pods are given, as MetalLB's does.
 */
import { AddressError, formatIpAddress, parseIpAddress } from "../wire/ip-address.ts";
import type { IpFamily } from "../wire/ip-address.ts";
import type { SpeakerFlagValues } from "./flags.ts";
import { keyringOf } from "./membership/keyring.ts";
import type { MembershipSettings } from "./packet-protocol.ts";

/** File of the key in the folder of `--ml-secret-key-path`. */
export const SECRET_KEY_FILE = "secretkey";

/** What the command line comes to. */
export type MembershipChoice =
  | { readonly kind: "off"; /** Flags that were given and have no effect without membership. */ readonly ineffective: readonly string[] }
  | { readonly kind: "on"; readonly settings: MembershipSettings; readonly family: IpFamily; readonly labels: string; readonly encrypted: boolean }
  | { readonly kind: "error"; readonly message: string };

export interface MembershipSources {
  /** Text of a file, undefined when there is none. @throws Error when it can't be read. */
  readonly readFile: (path: string) => string | undefined;
  /** When the process started. */
  readonly bootUnixMs: number;
}

/** Never throws. The key appears nowhere but in the settings. */
export function chooseMembership(flags: SpeakerFlagValues, sources: MembershipSources): MembershipChoice {
  const labels = flags["ml-labels"].trim();
  if (flags["ml-bindaddr"] === "" || labels === "") return { kind: "off", ineffective: ineffectiveFlags(flags) };
  const bind = readBindAddress(flags["ml-bindaddr"]);
  if (bind.kind === "error") return bind;
  const secret = readSecret(flags["ml-secret-key-path"], sources);
  if (secret.kind === "error") return secret;
  const { keys } = keyringOf(secret.text);
  return {
    kind: "on",
    family: bind.family,
    labels,
    encrypted: keys.length > 0,
    settings: {
      bindAddress: bind.address,
      bindPort: flags["ml-bindport"],
      keys,
      wan: flags["ml-wan-config"],
      profile: flags.profile,
      failback: flags.failback,
      election: flags.election,
      template: flags["template-version"],
      bootUnixMs: sources.bootUnixMs,
    },
  };
}

/** Those that differ from their default though nothing listens to them. */
function ineffectiveFlags(flags: SpeakerFlagValues): string[] {
  return [
    ...(flags.election === "hash" ? [] : ["--election"]),
    ...(flags.failback === "sticky" ? [] : ["--failback"]),
    ...(flags.profile === "default" ? [] : ["--profile"]),
  ];
}

function readBindAddress(text: string): { readonly kind: "address"; readonly address: string; readonly family: IpFamily } | { readonly kind: "error"; readonly message: string } {
  try {
    const address = parseIpAddress(text);
    // Peers are told this address: it has to be one that they can reach.
    if (address.value === 0n) return { kind: "error", message: `--ml-bindaddr: ${text} is no address that other nodes can reach` };
    return { kind: "address", address: formatIpAddress(address), family: address.family };
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    return { kind: "error", message: `--ml-bindaddr: ${error.message}` };
  }
}

/** Without a folder there is no key. With one there has to be a file in it: nobody who wants encryption should lose it to a typing error. */
function readSecret(folder: string, sources: MembershipSources): { readonly kind: "text"; readonly text: string } | { readonly kind: "error"; readonly message: string } {
  if (folder === "") return { kind: "text", text: "" };
  const path = `${folder.replace(/\/$/, "")}/${SECRET_KEY_FILE}`;
  try {
    const text = sources.readFile(path);
    return text === undefined ? { kind: "error", message: `--ml-secret-key-path: there is no file ${path}` } : { kind: "text", text };
  } catch (error) {
    return { kind: "error", message: `--ml-secret-key-path: ${path} can't be read: ${error instanceof Error ? error.message : String(error)}` };
  }
}
