import { describe, expect, it } from "vitest";
import type { LabelSelector, Pool, ServiceAllocation } from "../../config/config.ts";
import { poolAdmits } from "./pool-access.ts";

function selector(labels: Record<string, string>): LabelSelector {
  return { matchLabels: labels, matchExpressions: [] };
}

/** Which of four Services the pool admits: namespace a or b, each with and without the label web=yes. */
function admitted(allocation: Partial<ServiceAllocation> | undefined): string {
  const full = { priority: 0, namespaces: [], namespaceSelectors: [], serviceSelectors: [], ...allocation };
  const pool: Pool = { name: "p", ranges: [], autoAssign: true, avoidBuggyIps: false, ...(allocation === undefined ? {} : { serviceAllocation: full }) };
  const clients = [{}, { web: "yes" }].flatMap((labels) => ["a", "b"].map((namespace) => ({ namespace, namespaceLabels: { team: namespace }, labels })));
  return clients.filter((client) => poolAdmits(pool, client)).map(({ namespace, labels }) => namespace + ("web" in labels ? "+" : "-")).join(" ");
}

describe("serviceAllocation", () => {
  it.each<[string, Partial<ServiceAllocation> | undefined, string]>([
    ["absent", undefined, "a- b- a+ b+"],
    ["a priority alone", { priority: 5 }, "a- b- a+ b+"],
    ["namespaces alone", { namespaces: ["a"] }, "a- a+"],
    ["namespace selectors alone", { namespaceSelectors: [selector({ team: "b" })] }, "b- b+"],
    ["namespace selectors that match none", { namespaceSelectors: [selector({ team: "c" })] }, ""],
    ["namespaces or their selectors", { namespaces: ["a"], namespaceSelectors: [selector({ team: "b" })] }, "a- b- a+ b+"],
    ["namespaces, with selectors that match none", { namespaces: ["a"], namespaceSelectors: [selector({ team: "c" })] }, "a- a+"],
    ["service selectors alone", { serviceSelectors: [selector({ x: "y" }), selector({ web: "yes" })] }, "a+ b+"],
    ["namespaces and service selectors", { namespaces: ["a"], serviceSelectors: [selector({ web: "yes" })] }, "a+"],
  ])("%s", (_name, allocation, expected) => {
    expect(admitted(allocation)).toBe(expected);
  });
});
