/** What `assign-speakers.ts` and its part inside of the lab agree on. */

export const BENCH = "assign-speakers";
export const SERVICES = 1000;
/** How many runs when nothing is said. */
export const RUNS = 3;

/** In this order, for speakers don't come back. */
export const CASES = [
  { title: `${SERVICES} Services, 3 speakers`, hasSpeakers: true },
  { title: `${SERVICES} Services, no speaker`, hasSpeakers: false },
] as const;

/** Who takes processors, by the names of the lab's programs. */
export const GROUPS = [
  { name: "speakers", what: "the three speakers", programs: /^speaker-node/ },
  { name: "proxies", what: "the three kube-proxies", programs: /^kube-proxy-/ },
  { name: "server", what: "API server and etcd", programs: /^(apiserver|etcd)$/ },
  { name: "manager", what: "the controller manager", programs: /^controller-manager$/ },
] as const;

export type GroupName = (typeof GROUPS)[number]["name"];
