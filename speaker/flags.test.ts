import { describe, expect, it } from "vitest";
import { parseSpeakerFlags } from "./flags.ts";

describe("parseSpeakerFlags", () => {
  it("needs the node's name, and says where it can come from", () => {
    expect(parseSpeakerFlags([], {})).toMatchObject({ kind: "error", message: expect.stringContaining("METALLB_NODE_NAME") });
    expect(parseSpeakerFlags([], { METALLB_NODE_NAME: "node1" })).toMatchObject({ kind: "run", values: { "node-name": "node1" } });
  });

  it("takes the arguments and environment of MetalLB's manifests, and names what is not in effect", () => {
    const parsed = parseSpeakerFlags(["--port=7472", "--log-level=info", "--gratuitous-arp-interval=30"], {
      METALLB_NODE_NAME: "node1",
      METALLB_HOST: "172.20.0.11",
      METALLB_POD_NAME: "speaker-abcde",
      METALLB_ML_BIND_ADDR: "172.20.0.11",
      METALLB_ML_LABELS: "app=metallb,component=speaker",
      METALLB_ML_SECRET_KEY_PATH: "/etc/ml_secret_key",
      METALLB_BGP_TYPE: "frr-k8s",
    });
    expect(parsed).toMatchObject({
      kind: "run",
      values: {
        port: 7472, "pod-name": "speaker-abcde", "health-probe-port": 17472, "ignore-exclude-lb": false,
        "ml-bindaddr": "172.20.0.11", "ml-bindport": 7946, "ml-secret-key-path": "/etc/ml_secret_key", election: "hash", failback: "sticky", profile: "default",
      },
      ignored: ["bgp-type", "gratuitous-arp-interval"],
    });
  });

  it("refuses what it does not know and what it cannot read, by name", () => {
    const env = { METALLB_NODE_NAME: "node1" };
    expect(parseSpeakerFlags(["--prot=1"], env)).toMatchObject({ kind: "error", message: expect.stringContaining("--prot") });
    expect(parseSpeakerFlags(["--port=70000"], env)).toMatchObject({ kind: "error", message: expect.stringContaining("--port") });
    expect(parseSpeakerFlags(["--ml-bindport=0"], env)).toMatchObject({ kind: "error", message: expect.stringContaining("--ml-bindport") });
    expect(parseSpeakerFlags(["--election=ring"], env)).toMatchObject({ kind: "error", message: expect.stringContaining("hash, metallb") });
    expect(parseSpeakerFlags([], { ...env, HERALD_PROFILE: "wild" })).toMatchObject({ kind: "error", message: expect.stringContaining("HERALD_PROFILE") });
    expect(parseSpeakerFlags(["--log-level", "loud"], env)).toMatchObject({ kind: "error", message: expect.stringContaining("--log-level") });
  });

  it("answers --help and --version without a node's name", () => {
    expect(parseSpeakerFlags(["--help"], {}).kind).toBe("help");
    expect(parseSpeakerFlags(["--version"], {}).kind).toBe("version");
  });
});
