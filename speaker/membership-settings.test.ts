import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { parseSpeakerFlags } from "./flags.ts";
import { chooseMembership } from "./membership-settings.ts";
import type { MembershipChoice } from "./membership-settings.ts";

const ON = ["--ml-bindaddr=172.20.0.11", "--ml-labels=app=metallb,component=speaker"];

function choose(argv: readonly string[], files: Readonly<Record<string, string | Error>> = {}): MembershipChoice {
  const parsed = parseSpeakerFlags(["--node-name=node1", ...argv], {});
  if (parsed.kind !== "run") throw new Error(JSON.stringify(parsed));
  const readFile = (path: string): string | undefined => {
    const found = files[path];
    if (found instanceof Error) throw found;
    return found;
  };
  return chooseMembership(parsed.values, { readFile, bootUnixMs: 1_700_000_000_123 });
}

describe("chooseMembership", () => {
  it.each([
    ["nothing is given", []],
    ["only an address is given", ["--ml-bindaddr=172.20.0.11"]],
    ["only labels are given", ["--ml-labels=app=metallb"]],
  ])("is off when %s", (_title, argv) => {
    expect(choose(argv)).toEqual({ kind: "off", ineffective: [] });
  });

  it("says which flags have no effect without it", () => {
    expect(choose(["--election=metallb", "--failback=rank", "--profile=calm"])).toEqual({ kind: "off", ineffective: ["--election", "--failback", "--profile"] });
  });

  it("is on with both, with what else the flags say", () => {
    expect(choose([...ON, "--ml-bindport=7947", "--ml-wan-config", "--failback=rank", "--election=metallb", "--profile=fast", "--template-version=v2"])).toEqual({
      kind: "on",
      family: "IPv4",
      labels: "app=metallb,component=speaker",
      encrypted: false,
      settings: {
        bindAddress: "172.20.0.11", bindPort: 7947, keys: [], wan: true, profile: "fast", failback: "rank", election: "metallb", template: "v2", bootUnixMs: 1_700_000_000_123,
      },
    });
  });

  it("writes the address as everybody does", () => {
    expect(choose(["--ml-bindaddr=FD00:20:0::0011", "--ml-labels=a=b"])).toMatchObject({ kind: "on", family: "IPv6", settings: { bindAddress: "fd00:20::11" } });
  });

  it.each(["node1.example", "0.0.0.0", "::", "172.20.0.11:7946"])("refuses to bind to %s", (address) => {
    expect(choose([`--ml-bindaddr=${address}`, "--ml-labels=a=b"])).toMatchObject({ kind: "error", message: expect.stringContaining("--ml-bindaddr") });
  });

  it("makes the key of the secret's text as MetalLB does", () => {
    const text = "AAECAwQFBgcICQoLDA0ODw";
    const choice = choose([...ON, "--ml-secret-key-path=/etc/ml_secret_key"], { "/etc/ml_secret_key/secretkey": text });
    const expected = Buffer.concat([Buffer.from(text), createHash("sha256").digest()]).subarray(0, 32);
    expect(choice).toMatchObject({ kind: "on", encrypted: true });
    expect(choice.kind === "on" && choice.settings.keys.map((key) => Buffer.from(key).toString("hex"))).toEqual([expected.toString("hex")]);
  });

  it("an empty secret means no encryption; an absent or unreadable file is refused, by its path", () => {
    const argv = [...ON, "--ml-secret-key-path=/keys/"];
    expect(choose(argv, { "/keys/secretkey": "" })).toMatchObject({ kind: "on", encrypted: false, settings: { keys: [] } });
    expect(choose(argv)).toEqual({ kind: "error", message: "--ml-secret-key-path: there is no file /keys/secretkey" });
    expect(choose(argv, { "/keys/secretkey": new Error("EACCES: permission denied") })).toMatchObject({ kind: "error", message: expect.stringMatching(/\/keys\/secretkey can't be read: EACCES/) });
  });
});
