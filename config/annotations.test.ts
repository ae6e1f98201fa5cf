import { describe, expect, it } from "vitest";
import { readServiceAnnotations } from "./annotations.ts";

describe("readServiceAnnotations", () => {
  it("finds nothing on a Service without annotations", () => {
    expect(readServiceAnnotations({})).toEqual({ legacyKeys: [] });
    expect(readServiceAnnotations({ annotations: { "example.com/address-pool": "x" } })).toEqual({ legacyKeys: [] });
  });

  it("reads both spellings, and lists the former ones", () => {
    expect(readServiceAnnotations({
      annotations: { "metallb.universe.tf/loadBalancerIPs": "10.0.0.1", "metallb.universe.tf/allow-shared-ip": "k", "metallb.io/address-pool": "p", "metallb.universe.tf/whatever": "" },
    })).toEqual({
      addressPool: "p", loadBalancerIps: "10.0.0.1", allowSharedIp: "k",
      legacyKeys: ["metallb.universe.tf/allow-shared-ip", "metallb.universe.tf/loadBalancerIPs", "metallb.universe.tf/whatever"],
    });
  });

  it("lets today's spelling win by being there, even when it is empty", () => {
    expect(readServiceAnnotations({ annotations: { "metallb.io/address-pool": "", "metallb.universe.tf/address-pool": "old" } })).toEqual({
      addressPool: "", legacyKeys: ["metallb.universe.tf/address-pool"],
    });
  });
});
