/**
 * What may happen to a cluster, as steps for fast-check: what users ask for and take back, what administrators do to pools
 * and namespaces, what others write into statuses, and what goes wrong. For tests.
 */
import fc from "fast-check";

/** Layouts by pool. Those of `r` and `s` overlap some of `p`. */
export const LAYOUTS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  p: [["10.0.0.1-10.0.0.2", "fd00::1/128"], ["10.0.0.1/32"], ["10.0.0.2/32", "fd00::2/128"], ["fd00::1-fd00::2"], ["10.0.0.254-10.0.0.255", "10.0.0.2/32"]],
  q: [["10.0.1.1/32", "fd01::1/128"], ["10.0.1.0-10.0.1.1"], ["fd01::1/128"]],
  r: [["10.0.0.1-10.0.0.2", "fd00::1-fd00::3"], ["10.0.0.2/32"]],
  s: [["10.0.0.2/32", "fd00::1/128"], ["10.0.0.1/32", "fd00::2/128"]],
};

/** Services of all sequences, in order of age when each is made in its turn. */
export const NAMES = ["a", "b", "c", "d", "e", "f"] as const;

const anyShape = fc.record({
  stack: fc.constantFrom("v4" as const, "v4" as const, "v4" as const, "v6" as const, "prefer" as const, "sixFirst" as const, "preferOne" as const, "require" as const, "requireOne" as const, "headless" as const),
  key: fc.constantFrom("", "k", "k", "k", "j"),
  ports: fc.subarray([80, 443], { minLength: 1 }),
  protocol: fc.constantFrom("TCP" as const, "UDP" as const),
  local: fc.constantFrom(false, false, true),
  app: fc.constantFrom("x", "x", "y"),
  front: fc.boolean(),
  pool: fc.constantFrom("", "", "", "", "p", "q", "r", "nowhere"),
  ips: fc.constantFrom("", "", "", "", "10.0.0.1", "10.0.0.2", "10.0.0.255", "10.0.1.0", "fd00::1", "10.0.0.2,fd00::2", "fd01::1,10.0.1.1", "10.0.0.1,fd01::1", "192.0.2.1", "garbage", "10.0.0.1,10.0.0.2"),
  specIp: fc.constantFrom(undefined, undefined, undefined, undefined, "10.0.0.1", "10.0.1.1"),
  // Under MetalLB's former prefix: undefined leaves the annotation away.
  formerKey: fc.constantFrom(undefined, undefined, undefined, "k", "j", ""),
  formerPool: fc.constantFrom(undefined, undefined, undefined, "p", "q", ""),
  formerIps: fc.constantFrom(undefined, undefined, undefined, undefined, "10.0.0.1", "garbage", ""),
  // Today's prefix is there and empty where it would be absent, which hides the former one.
  presentThoughEmpty: fc.constantFrom(false, false, true),
});
/** What a Service asks for. */
export type Shape = typeof anyShape extends fc.Arbitrary<infer S> ? S : never;

const PLAIN: Shape = {
  stack: "v4", key: "", ports: [80], protocol: "TCP", local: false, app: "x", front: false, pool: "", ips: "",
  specIp: undefined, formerKey: undefined, formerPool: undefined, formerIps: undefined, presentThoughEmpty: false,
};
// Many who want the same are needed for a queue.
const shape = fc.oneof({ weight: 2, arbitrary: anyShape }, { weight: 1, arbitrary: fc.constant(PLAIN) });

const poolShape = fc.record({
  layout: fc.nat(4),
  autoAssign: fc.constantFrom(true, true, false),
  avoidBuggyIPs: fc.boolean(),
  serviceAllocation: fc.constantFrom<object | undefined>(
    undefined, undefined, {}, { priority: 1 }, { priority: 2, namespaces: ["default"] }, { namespaces: ["elsewhere"] }, { namespaceSelectors: [{ matchLabels: { team: "red" } }] },
    { namespaces: ["elsewhere"], namespaceSelectors: [{ matchLabels: { team: "red" } }] }, { serviceSelectors: [{ matchLabels: { tier: "front" } }], priority: 3 },
    { namespaceSelectors: [{ matchLabels: { team: "blue" } }], serviceSelectors: [{ matchLabels: { tier: "front" } }] },
  ),
});
/** How a pool is written. */
export type PoolShape = typeof poolShape extends fc.Arbitrary<infer S> ? S : never;

const names = fc.constantFrom(...NAMES);
const fields = fc.constantFrom(...(["stack", "key", "ports", "protocol", "local", "app", "front", "pool", "ips", "specIp", "formerKey", "formerPool", "formerIps", "presentThoughEmpty"] as const));

const create = fc.record({ kind: fc.constant("create" as const), name: names, shape });
const change = fc.record({ kind: fc.constant("change" as const), name: names, shape, field: fields });
const remove = fc.record({ kind: fc.constant("delete" as const), name: names });
const replace = fc.record({ kind: fc.constant("replace" as const), name: names, shape });
const type = fc.record({ kind: fc.constant("type" as const), name: names, to: fc.constantFrom("ClusterIP" as const, "LoadBalancer" as const, "foreign" as const) });
const edit = fc.record({ kind: fc.constant("edit" as const), name: names, ingress: fc.subarray(["10.0.0.1", "10.0.1.1", "fd00::2", "192.0.2.9", "lb.example.com"], { maxLength: 2 }) });
const mark = fc.record({ kind: fc.constant("mark" as const), name: names, what: fc.constantFrom("noAnnotation" as const, "noAnnotation" as const, "otherPool" as const, "othersCondition" as const, "otherReason" as const) });
const pool = fc.record({ kind: fc.constant("pool" as const), pool: fc.constantFrom("p", "p", "q", "q", "s"), spec: poolShape });
const counters = fc.record({ kind: fc.constant("counters" as const), pool: fc.constantFrom("p", "q") });
const rename = fc.record({ kind: fc.constant("rename" as const), spec: poolShape });
const split = fc.record({ kind: fc.constant("split" as const), spec: poolShape });
const dropPool = fc.record({ kind: fc.constant("dropPool" as const), pool: fc.constantFrom("p", "q", "r", "s") });
const relabel = fc.record({ kind: fc.constant("relabel" as const), team: fc.constantFrom("red", "blue", "none") });
const restart = fc.record({ kind: fc.constant("restart" as const) });

const events = [
  { weight: 10, arbitrary: create },
  { weight: 10, arbitrary: change },
  { weight: 4, arbitrary: remove },
  { weight: 1, arbitrary: replace },
  { weight: 2, arbitrary: type },
  { weight: 2, arbitrary: edit },
  { weight: 1, arbitrary: mark },
  { weight: 2, arbitrary: pool },
  { weight: 1, arbitrary: counters },
  { weight: 1, arbitrary: rename },
  { weight: 1, arbitrary: split },
  { weight: 1, arbitrary: dropPool },
  { weight: 2, arbitrary: relabel },
  { weight: 1, arbitrary: restart },
] as const;

const misfortunes = [
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("kill" as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("fail" as const), code: fc.constantFrom(0, 403, 404, 409, 422, 429, 500, 504), times: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("failPools" as const), code: fc.constantFrom(0, 409, 422, 500), times: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("loseAnswers" as const), code: fc.constantFrom(0, 504), times: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("hold" as const), verb: fc.constantFrom("watch" as const, "list" as const, "patch" as const, "change" as const), plural: fc.constantFrom("services", "services", "ipaddresspools", "namespaces") }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("release" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("relist" as const) }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.constantFrom(0, 5, 300) }) },
] as const;

/** One thing that happens while all else is well. */
export const calmStep = fc.oneof(...events);
/** One thing that happens, or goes wrong, or a while in which nothing does. */
export const step = fc.oneof(...events, ...misfortunes);
export type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;
