/** Which Services a pool's serviceAllocation admits. */
import type { Labels, Pool } from "../../config/config.ts";
import { matchesAny } from "../../config/label-selector.ts";

/** A Service as serviceAllocation sees it. */
export interface PoolClient {
  readonly namespace: string;
  readonly namespaceLabels: Labels | undefined;
  readonly labels: Labels | undefined;
}

/**
 * Whether the pool may serve the Service: its namespace is named or matched by a namespace selector, and its labels are
 * matched by a service selector. What is not restricted admits everything. Namespace selectors that match no namespace
 * admit none.
 */
export function poolAdmits(pool: Pool, client: PoolClient): boolean {
  const allocation = pool.serviceAllocation;
  if (allocation === undefined) return true;
  const { namespaces, namespaceSelectors } = allocation;
  // An empty list of selectors matches everything, but beside a list of names it adds nothing.
  const bySelector = namespaceSelectors.length > 0 ? matchesAny(namespaceSelectors, client.namespaceLabels) : namespaces.length === 0;
  const namespaceFits = bySelector || namespaces.includes(client.namespace);
  return namespaceFits && (allocation.serviceSelectors.length === 0 || matchesAny(allocation.serviceSelectors, client.labels));
}
