import { describe, expect, test } from "vitest";
import type { Service } from "../../../../kube/objects.ts";
import { LAG_MS, Ledger } from "./ledger.ts";
import type { PoolSpec } from "./pool-book.ts";

const MAIN: PoolSpec = { addresses: ["10.0.0.0/24", "fd00::/120"] };
const BLUE: PoolSpec = { addresses: ["10.1.0.0/24"], serviceAllocation: { namespaceSelectors: [{ matchLabels: { team: "blue" } }] } };

interface Shape {
  readonly uid?: string;
  readonly key?: string;
  readonly port?: number;
  readonly requested?: string;
  readonly pool?: string;
  readonly policy?: "SingleStack" | "PreferDualStack";
}

function service(shown: string, { uid = "u", key = "", port = 80, requested = "", pool = "", policy = "SingleStack" }: Shape = {}): Service {
  const annotations = {
    ...(key === "" ? {} : { "metallb.io/allow-shared-ip": key }),
    ...(requested === "" ? {} : { "metallb.io/loadBalancerIPs": requested }),
    ...(pool === "" ? {} : { "metallb.io/address-pool": pool }),
  };
  return {
    metadata: { name: "any", namespace: "default", uid, annotations },
    spec: { type: "LoadBalancer", ipFamilies: policy === "SingleStack" ? ["IPv4"] : ["IPv4", "IPv6"], ipFamilyPolicy: policy, ports: [{ port }] },
    status: { loadBalancer: shown === "" ? {} : { ingress: shown.split(",").map((ip) => ({ ip })) } },
  };
}

/** A ledger with the pool "main", on a clock of its own; Services are in "default". */
function open(): { ledger: Ledger; wait: (ms: number) => void } {
  let now = 0;
  const ledger = new Ledger(() => now);
  ledger.putNamespace("default", {});
  ledger.putPool("main", MAIN);
  return { ledger, wait: (ms) => void (now += ms) };
}

describe("the ledger", () => {
  test("sees an address given twice, unless both may share it", () => {
    const { ledger } = open();
    ledger.put(1, "a", service("10.0.0.1", { key: "k" }));
    ledger.put(2, "b", service("10.0.0.1", { key: "k", port: 443 }));
    expect(ledger.violations).toEqual([]);
    ledger.put(3, "c", service("10.0.0.1", { key: "k", port: 443 }));
    expect(ledger.violations).toEqual(["revision 3: c got 10.0.0.1, which b has and may not share"]);
    expect(ledger.unfinished()).toHaveLength(2);
  });

  test("sees an address lost or moved, unless its holder wants another or had to leave it", () => {
    const { ledger, wait } = open();
    wait(LAG_MS + 1);
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
    const { ledger } = open();
    ledger.put(1, "a", service("10.0.0.1"));
    ledger.delete("a");
    ledger.put(2, "b", service("10.0.0.1"));
    ledger.put(3, "b", service("", { uid: "v" }));
    ledger.put(4, "a", service("10.0.0.1"));
    expect(ledger.violations).toEqual([]);
    expect(ledger.counts).toMatchObject({ given: 3, taken: 0, revisions: 5 });
  });
});

describe("the ledger, when pools change", () => {
  const LOST = "revision 9: a lost 10.0.0.1 without cause, and shows [10.0.0.200]";

  /** "a" has 10.0.0.1 of a pool that has been there for long; what happens; then "a" shows 10.0.0.200. */
  function moved(happens: (ledger: Ledger, wait: (ms: number) => void) => void, shape: Shape = {}): readonly string[] {
    const { ledger, wait } = open();
    ledger.put(1, "a", service("10.0.0.1", shape));
    wait(10 * LAG_MS);
    happens(ledger, wait);
    ledger.put(9, "a", service("10.0.0.200", shape));
    return ledger.violations;
  }

  test("an address may be taken once its pool has it no more, or not for this namespace", () => {
    expect(moved((ledger) => ledger.putPool("main", { addresses: ["10.0.0.128/25"] }))).toEqual([]);
    expect(moved((ledger) => ledger.putPool("main", { ...MAIN, serviceAllocation: { namespaceSelectors: [{ matchLabels: { team: "blue" } }] } })).filter((each) => each.includes("without cause"))).toEqual([]);
    expect(moved(() => {})).toEqual([LOST]);
  });

  test("that it has grown, or that others were changed, or that it was written without a change, is no cause", () => {
    expect(moved((ledger) => ledger.putPool("main", { addresses: ["10.0.0.0/24", "10.9.0.0/24"] }))).toEqual([LOST]);
    expect(moved((ledger) => (ledger.putPool("other", { addresses: ["10.7.0.0/24"] }), ledger.putPool("other")))).toEqual([LOST]);
    expect(moved((ledger) => ledger.putPool("main", MAIN))).toEqual([LOST]);
    expect(moved((ledger) => ledger.putPool("main", { ...MAIN, autoAssign: false })).filter((each) => each === LOST)).toEqual([LOST]);
    expect(moved((ledger) => ledger.putNamespace("default", { team: "blue" }))).toEqual([LOST]);
  });

  test("that it had not the address for a moment is a cause for as long as a controller may lag behind, and none after that", () => {
    const blink = (ms: number) => (ledger: Ledger, wait: (ms: number) => void): void => {
      ledger.putPool("main", { addresses: ["10.0.0.128/25"] });
      wait(1000);
      ledger.putPool("main", MAIN);
      wait(ms);
    };
    expect(moved(blink(LAG_MS))).toEqual([]);
    expect(moved(blink(LAG_MS + 1))).toEqual([LOST]);
  });

  test("a pool renamed or split with its addresses in both for a while, which is no configuration, is no cause; with them in none it is", () => {
    const split = (ledger: Ledger): void => {
      ledger.putPool("new", { addresses: ["10.0.0.0/25"] });
      ledger.putPool("main", { addresses: ["10.0.0.128/25"] });
    };
    expect(moved(split)).toEqual([LOST]);
    expect(moved((ledger) => (ledger.putPool("new", MAIN), ledger.putPool("main")))).toEqual([LOST]);
    expect(moved((ledger) => (ledger.putPool("main"), ledger.putPool("new", MAIN)))).toEqual([]);
  });

  test("what is given must be in a pool that lets the Service have it, or must have been", () => {
    const { ledger, wait } = open();
    wait(10 * LAG_MS);
    ledger.putPool("named", { addresses: ["10.2.0.0/24"], autoAssign: false });
    ledger.putPool("blue", BLUE);
    ledger.put(1, "a", service("10.9.0.1"));
    ledger.put(2, "b", service("10.1.0.1"));
    ledger.put(3, "c", service("10.2.0.1"));
    expect(ledger.violations).toEqual(["a got 10.9.0.1", "b got 10.1.0.1", "c got 10.2.0.1"].map((what, index) => `revision ${index + 1}: ${what}, which no pool has for it`));
    ledger.put(4, "d", service("10.2.0.2", { requested: "10.2.0.2" }));
    ledger.put(5, "e", service("10.2.0.3", { pool: "named" }));
    ledger.putPool("named");
    ledger.putNamespace("default", { team: "blue" });
    ledger.put(6, "f", service("10.1.0.2"));
    wait(LAG_MS);
    ledger.put(7, "g", service("10.2.0.4", { pool: "named" }));
    expect(ledger.violations).toHaveLength(3);
    wait(1);
    ledger.put(8, "h", service("10.2.0.5", { pool: "named" }));
    expect(ledger.violations[3]).toBe("revision 8: h got 10.2.0.5, which no pool has for it");
  });

  test("a Service with both families whose pool is torn apart may move both, and has to", () => {
    const { ledger, wait } = open();
    ledger.put(1, "a", service("10.0.0.1,fd00::1", { policy: "PreferDualStack" }));
    wait(10 * LAG_MS);
    ledger.putPool("main", { addresses: ["10.0.0.0/24"] });
    ledger.putPool("six", { addresses: ["fd00::/120"] });
    expect(ledger.unfinished()).toHaveLength(1);
    ledger.put(2, "a", service("10.0.0.1", { policy: "PreferDualStack" }));
    expect([ledger.violations, ledger.unfinished(), ledger.counts.forced]).toEqual([[], [], 1]);
    wait(LAG_MS + 1);
    ledger.put(3, "a", service("fd00::1", { policy: "PreferDualStack" }));
    expect(ledger.violations).toEqual(["revision 3: a lost 10.0.0.1 without cause, and shows [fd00::1]"]);
  });
});
