import { describe, expect, test } from "vitest";
import type { Service } from "../../../../kube/objects.ts";
import { Ledger } from "./ledger.ts";

const POOLS = [{ name: "main", starts: ["10.0.0."] }];

function service(shown: string, { uid = "u", key = "", port = 80, requested = "", type = "LoadBalancer" as const, policy = "SingleStack" as const } = {}): Service {
  const annotations = { ...(key === "" ? {} : { "metallb.io/allow-shared-ip": key }), ...(requested === "" ? {} : { "metallb.io/loadBalancerIPs": requested }) };
  return {
    metadata: { name: "any", namespace: "default", uid, annotations },
    spec: { type, ipFamilies: ["IPv4"], ipFamilyPolicy: policy, ports: [{ port }] },
    status: { loadBalancer: shown === "" ? {} : { ingress: [{ ip: shown }] } },
  };
}

describe("the ledger", () => {
  test("sees an address given twice, unless both may share it", () => {
    const ledger = new Ledger(POOLS);
    ledger.put(1, "a", service("10.0.0.1", { key: "k" }));
    ledger.put(2, "b", service("10.0.0.1", { key: "k", port: 443 }));
    expect(ledger.violations).toEqual([]);
    ledger.put(3, "c", service("10.0.0.1", { key: "k", port: 443 }));
    expect(ledger.violations).toEqual(["revision 3: c got 10.0.0.1, which b has and may not share"]);
    expect(ledger.unfinished()).toHaveLength(2);
  });

  test("sees an address lost or moved, unless its holder wants another or had to leave it", () => {
    const ledger = new Ledger(POOLS);
    ledger.put(1, "a", service("10.0.0.1"));
    ledger.put(2, "a", service("10.0.0.2"));
    expect(ledger.violations).toEqual(["revision 2: a lost 10.0.0.1 without cause, and shows [10.0.0.2]"]);
    ledger.put(3, "a", service("10.0.0.2", { requested: "10.0.0.3" }));
    expect(ledger.unfinished()).toHaveLength(1);
    ledger.put(4, "a", service("10.0.0.3", { requested: "10.0.0.3" }));
    ledger.put(5, "b", service("10.0.0.4", { key: "k" }));
    ledger.put(6, "c", service("10.0.0.4", { key: "k", port: 443 }));
    ledger.put(7, "c", service("10.0.0.4", { key: "j", port: 443 }));
    expect(ledger.unfinished()).toHaveLength(2);
    ledger.put(8, "c", service("10.0.0.5", { key: "j", port: 443 }));
    expect(ledger.violations).toHaveLength(1);
    expect(ledger.unfinished()).toEqual([]);
    ledger.put(9, "c", service("", { key: "j", port: 443 }));
    expect(ledger.violations).toHaveLength(2);
    expect(ledger.unfinished()).toHaveLength(1);
  });

  test("a Service that is gone leaves its address, and one that comes back under its name is another", () => {
    const ledger = new Ledger(POOLS);
    ledger.put(1, "a", service("10.0.0.1"));
    ledger.delete("a");
    ledger.put(2, "b", service("10.0.0.1"));
    ledger.put(3, "b", service("", { uid: "v" }));
    ledger.put(4, "a", service("10.0.0.1"));
    expect(ledger.violations).toEqual([]);
    expect(ledger.counts).toEqual({ given: 3, taken: 0, revisions: 5 });
  });
});
