/** What a control plane with real kubelets has that the light lab's has not. */
import { randomBytes } from "node:crypto";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CONTROL_HOST, SERVICE_RANGES, fullHostsOf, nodeNames } from "../hosts.ts";
import type { FullLabSettings, LabFolder } from "../state.ts";

/** A user of the API server other than the administrator, by the name that Kubernetes' own roles know. */
export type ComponentUser = "system:kube-proxy" | `system:node:${string}`;

/** Address at which the API server says it is: the control host's, of the first family. */
export function apiAddressOf(settings: FullLabSettings): string {
  const control = fullHostsOf(0).find(({ name }) => name === CONTROL_HOST);
  return (settings.family === "ipv6" ? control?.ipv6 : control?.ipv4) ?? "";
}

/** Both ranges of cluster addresses, the first family's first. */
export function serviceRanges(settings: FullLabSettings | undefined): string {
  return settings?.family === "ipv6" ? SERVICE_RANGES.split(",").toReversed().join(",") : SERVICE_RANGES;
}

/**
 * Flags of the API server: who may what is decided as kubeadm has it, kubelets are asked at their addresses, and every
 * request is written down. The certificate that it makes for itself names the advertised address and the first Service's.
 */
export function fullApiServerFlags(folder: LabFolder, settings: FullLabSettings): string[] {
  const policy = join(folder.path, "audit-policy.json");
  writeFileSync(policy, JSON.stringify({ apiVersion: "audit.k8s.io/v1", kind: "Policy", omitStages: ["RequestReceived"], rules: [{ level: "Metadata" }] }));
  return [
    `--advertise-address=${apiAddressOf(settings)}`, "--bind-address=::",
    "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--kubelet-preferred-address-types=InternalIP",
    `--audit-policy-file=${policy}`, `--audit-log-path=${folder.auditLog}`, "--audit-log-maxsize=4096",
  ];
}

/** Adds the tokens of kubelets and kube-proxies to those that the API server reads at its start. */
export function writeFullCredentials(folder: LabFolder, nodeCount: number): void {
  mkdirSync(join(folder.path, "tokens"), { recursive: true });
  const nodes = [CONTROL_HOST, ...nodeNames(nodeCount), "backend"];
  const users: [ComponentUser, string][] = [["system:kube-proxy", ""], ...nodes.map((node): [ComponentUser, string] => [`system:node:${node}`, "system:nodes"])];
  for (const [user, group] of users) {
    const token = randomBytes(24).toString("hex");
    writeFileSync(tokenPath(folder, user), token, { mode: 0o600 });
    appendFileSync(join(folder.path, "tokens.csv"), `${token},${user},${user}${group === "" ? "" : `,${group}`}\n`);
  }
}

/** Token of a component. */
export function tokenOf(folder: LabFolder, user: ComponentUser): string {
  return readFileSync(tokenPath(folder, user), "utf8");
}

function tokenPath(folder: LabFolder, user: ComponentUser): string {
  return join(folder.path, "tokens", user.replaceAll(":", "-"));
}
