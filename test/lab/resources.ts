/** Herald's resources as the tests apply them, in JSON, which YAML readers take. */

/** A pool of these ranges and CIDRs; `spec` adds to it. */
export function pool(name: string, addresses: readonly string[], spec: Readonly<Record<string, unknown>> = {}): string {
  return resource("IPAddressPool", name, { addresses, ...spec });
}

/** An L2Advertisement with this spec; of every pool from every node when it is empty. */
export function advertisement(name: string, spec: Readonly<Record<string, unknown>> = {}): string {
  return resource("L2Advertisement", name, spec);
}

/** Selects one node by its name. */
export function nodeNamed(node: string): unknown {
  return { matchLabels: { "kubernetes.io/hostname": node } };
}

function resource(kind: string, name: string, spec: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify({ apiVersion: "metallb.io/v1beta1", kind, metadata: { name, namespace: "metallb-system" }, spec })}\n---\n`;
}
