import { describe, expect, it } from "vitest";
import { parseControllerFlags } from "./flags.ts";

describe("the controller's flags", () => {
  it("take MetalLB's command line and environment as they are", () => {
    const argv = ["--port=7472", "--log-level=debug", "--tls-min-version=VersionTLS12", "--webhook-mode=disabled", "--disable-cert-rotation", "--pprof-bind-address=:6060"];
    const parsed = parseControllerFlags(argv, { METALLB_ML_SECRET_NAME: "memberlist", METALLB_DEPLOYMENT: "controller", METALLB_NAMESPACE: "lb" });
    expect(parsed).toMatchObject({
      kind: "run",
      values: { port: 7472, "log-level": "debug", "ml-secret-name": "memberlist", deployment: "controller", namespace: "lb", "health-probe-port": 17_472, "tls-min-version": "VersionTLS12", "metrics-plain": false, "webhook-mode": "disabled", "disable-cert-rotation": true },
      ignored: ["pprof-bind-address"],
    });
  });

  it("name what is unknown or bad", () => {
    expect(parseControllerFlags(["--prot=1"], {})).toMatchObject({ kind: "error", message: expect.stringContaining("--prot") });
    expect(parseControllerFlags(["--webhook-mode=sometimes"], {})).toMatchObject({ kind: "error", message: expect.stringContaining("sometimes") });
  });
});
