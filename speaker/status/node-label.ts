/**
 * A Node's name as the value of a label.
 */
import { createHash } from "node:crypto";

const maxLabelLength = 63;
const digestLength = 8;

/** A Node's name may have 253 characters, a label's value 63: a longer one is cut and told apart by a digest. */
export function nodeLabelValue(node: string): string {
  if (node.length <= maxLabelLength) return node;
  const digest = createHash("sha256").update(node).digest("hex").slice(0, digestLength);
  return `${node.slice(0, maxLabelLength - digestLength - 1)}-${digest}`;
}
