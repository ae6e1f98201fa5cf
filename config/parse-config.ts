/**
 * Custom resources in, one Config or a list of errors out. The whole is judged at once: an advertisement depends on the
 * pools beside it, and two pools that are fine alone may overlap. Unknown fields are ignored. Pure, and never throws.
 */
import type { CustomResource } from "../kube/objects.ts";
import type { ConfigResult, L2Advertisement, Pool } from "./config.ts";
import { FieldErrors } from "./field-errors.ts";
import { readIpAddressPool } from "./ip-address-pool.ts";
import { readL2Advertisement, type SelectablePool } from "./l2-advertisement.ts";
import { RangeSet } from "./range-set.ts";

/** All resources of Herald's namespace that configure it, in any order. */
export interface ConfigResources {
  readonly pools: readonly CustomResource[];
  readonly l2Advertisements: readonly CustomResource[];
}

/**
 * Reads the configuration. Objects are read in the order of their names, so that equal resources give equal results:
 * of two overlapping pools it is always the later name that is refused. Errors are ordered by kind, name and field.
 */
export function parseConfig(resources: ConfigResources): ConfigResult {
  const defined = new RangeSet<string>();
  const pools = new Map<string, Pool>();
  const selectable: SelectablePool[] = [];
  const errors: FieldErrors[] = [];
  for (const object of byName(resources.pools)) {
    const name = object.metadata.name;
    const own = new FieldErrors({ kind: "IPAddressPool", name });
    errors.push(own);
    if (pools.has(name)) own.add("metadata.name", `duplicate definition of pool ${JSON.stringify(name)}`);
    selectable.push({ name, labels: object.metadata.labels });
    pools.set(name, readIpAddressPool({ name, spec: object.spec }, own, defined));
  }
  const l2Advertisements: L2Advertisement[] = byName(resources.l2Advertisements).map((object) => {
    const name = object.metadata.name;
    const own = new FieldErrors({ kind: "L2Advertisement", name });
    errors.push(own);
    return readL2Advertisement({ name, spec: object.spec }, own, selectable);
  });
  const all = errors.flatMap((own) => own.list);
  return all.length > 0 ? { kind: "invalid", errors: all } : { kind: "valid", config: { pools, l2Advertisements } };
}

function byName(objects: readonly CustomResource[]): CustomResource[] {
  const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return objects.toSorted((a, b) => compare(a.metadata.name, b.metadata.name) || compare(a.metadata.namespace ?? "", b.metadata.namespace ?? ""));
}
