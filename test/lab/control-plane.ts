import { execFileSync } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { apiAddressOf, fullApiServerFlags, serviceRanges, writeFullCredentials } from "./full/control-plane-flags.ts";
import { CONTROL_HOST, POD_RANGES, hostsOf, namespaceOf } from "./hosts.ts";
import { poll } from "./poll.ts";
import type { ProcessTable } from "./processes.ts";
import { nsenterArgv } from "./processes.ts";
import { programPath, searchPath } from "./programs.ts";
import type { LabFolder, LabState } from "./state.ts";

/** Seconds without a renewed Lease after which a Node is no longer Ready; Kubernetes has 50. */
export const NODE_GRACE_SECONDS = 20;

const ETCD_CLIENT = "http://127.0.0.1:2379";
const API_ADDRESS = hostsOf(0)[0]?.ipv4 ?? "";
/** Asked to end, it would wait for its watchers, which never leave. */
const STOP_GRACE_MS = 300;
const START_BUDGET_MS = 120_000;

/** Starts etcd, the API server, the controller manager and, for real kubelets, the scheduler; and returns when the API is ready. `again` keeps the credentials of the first start. */
export async function startControlPlane(folder: LabFolder, state: LabState, processes: ProcessTable, options: { readonly again?: boolean } = {}): Promise<void> {
  if (options.again !== true) writeCredentials(folder, state);
  const namespace = namespaceOf(state.name, CONTROL_HOST);
  processes.start({ name: "etcd", namespace, argv: etcdArgv(folder), env: { ETCD_UNSUPPORTED_ARCH: process.arch } });
  await startApiServer(folder, state, processes);
  writeKubeconfig({ folder, state, path: folder.kubeconfig, token: readToken(folder) });
  startControllerManager(folder, state, processes);
}

/** Starts the controller manager, and the scheduler where there is one, which wait for the API server by themselves. */
export function startControllerManager(folder: LabFolder, state: LabState, processes: ProcessTable): void {
  const namespace = namespaceOf(state.name, CONTROL_HOST);
  if (!processes.isRunning("controller-manager")) processes.start({ name: "controller-manager", namespace, argv: controllerManagerArgv(folder) });
  if (state.full && !processes.isRunning("scheduler")) {
    processes.start({ name: "scheduler", namespace, argv: [programPath("kube-scheduler"), `--kubeconfig=${folder.kubeconfig}`, "--leader-elect=false", "--v=1"] });
  }
}

/** Starts the API server on the etcd there is, and waits until it is ready. */
export async function startApiServer(folder: LabFolder, state: LabState, processes: ProcessTable): Promise<void> {
  const namespace = namespaceOf(state.name, CONTROL_HOST);
  if (!processes.isRunning("apiserver")) processes.start({ name: "apiserver", namespace, argv: apiServerArgv(folder, state) });
  await poll(() => {
    if (!processes.isRunning("apiserver")) throw new Error(`the API server ended; see ${processes.logPath("apiserver")}`);
    return isApiReady(folder, state, namespace);
  }, { timeoutMs: START_BUDGET_MS, intervalMs: 150, what: "the API server to be ready" });
}

/**
 * Stops the API server, and with it the controller manager, which in a cluster ends when it cannot renew its Lease. Here
 * it has none, and one that stays would wait up to half a minute before it looks again: until then every Node would seem
 * lost to it, for want of news. etcd and everything else stay.
 */
export async function stopApiServer(processes: ProcessTable): Promise<void> {
  await processes.stop("controller-manager", 0);
  await processes.stop("scheduler", 0);
  await processes.stop("apiserver", STOP_GRACE_MS);
}

/** Starts kube-proxy of a node, which turns Service addresses into pod addresses there. */
export function startKubeProxy(folder: LabFolder, state: LabState, processes: ProcessTable, node: string): void {
  processes.start({
    name: `kube-proxy-${node}`,
    namespace: namespaceOf(state.name, node),
    env: { PATH: searchPath() },
    argv: [
      programPath("kube-proxy"), `--kubeconfig=${folder.kubeconfig}`, `--hostname-override=${node}`, "--proxy-mode=iptables",
      `--cluster-cidr=${POD_RANGES}`,
      // It would set the machine's own limits for these.
      "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0",
      // Ready for a new Service in a tenth of the second that a large cluster would rather save.
      "--iptables-min-sync-period=100ms", "--v=1",
    ],
  });
}

/** Where the API server answers, as seen from every host of the lab; of a light lab when no state is given. */
export function apiServerUrl(state?: LabState): string {
  const address = state?.full ? apiAddressOf(state.full) : API_ADDRESS;
  return `https://${address.includes(":") ? `[${address}]` : address}:6443`;
}

function isApiReady(folder: LabFolder, state: LabState, namespace: string): boolean {
  if (!existsSync(folder.certificate)) return false;
  try {
    const curl = [programPath("curl"), "-sf", "-g", "--max-time", "2", "--cacert", folder.certificate, "-H", `Authorization: Bearer ${readToken(folder)}`, `${apiServerUrl(state)}/readyz`];
    return execFileSync("nsenter", nsenterArgv(namespace, curl), { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }) === "ok";
  } catch {
    return false;
  }
}

function etcdArgv(folder: LabFolder): string[] {
  return [
    programPath("etcd"), "--data-dir", folder.etcd, "--unsafe-no-fsync", "--log-level=warn",
    "--listen-client-urls", ETCD_CLIENT, "--advertise-client-urls", ETCD_CLIENT,
    "--listen-peer-urls", "http://127.0.0.1:2380",
  ];
}

function apiServerArgv(folder: LabFolder, state: LabState): string[] {
  const key = join(folder.path, "service-accounts.key");
  return [
    programPath("kube-apiserver"), `--etcd-servers=${ETCD_CLIENT}`,
    `--cert-dir=${join(folder.path, "certificates")}`, `--token-auth-file=${join(folder.path, "tokens.csv")}`,
    "--service-account-issuer=https://kubernetes.default.svc", `--service-account-key-file=${key}`, `--service-account-signing-key-file=${key}`,
    `--service-cluster-ip-range=${serviceRanges(state.full)}`,
    ...(state.full ? fullApiServerFlags(folder, state.full) : [
      `--advertise-address=${API_ADDRESS}`, `--bind-address=${API_ADDRESS}`, "--authorization-mode=RBAC",
      // Nobody mounts tokens into the pods that the lab plays.
      "--disable-admission-plugins=ServiceAccount",
    ]),
    // Webhooks are called at pod addresses, to which the control host has routes.
    "--enable-aggregator-routing=true", "--allow-privileged=true", "--shutdown-delay-duration=0s", "--v=1",
  ];
}

function controllerManagerArgv(folder: LabFolder): string[] {
  return [
    programPath("kube-controller-manager"), `--kubeconfig=${folder.kubeconfig}`, "--leader-elect=false",
    // The lab gives nodes their pod ranges itself.
    "--controllers=*,-nodeipam", `--service-account-private-key-file=${join(folder.path, "service-accounts.key")}`,
    `--root-ca-file=${folder.certificate}`, `--node-monitor-grace-period=${NODE_GRACE_SECONDS}s`, "--node-monitor-period=1s",
    // Endpoints follow their pods at once; tests wait for them all the time.
    "--endpointslice-updates-batch-period=0s", "--kube-api-qps=100", "--kube-api-burst=200", "--v=1",
  ];
}

function writeCredentials(folder: LabFolder, state: LabState): void {
  mkdirSync(join(folder.path, "certificates"), { recursive: true });
  const token = randomBytes(24).toString("hex");
  writeFileSync(folder.token, token, { mode: 0o600 });
  writeFileSync(join(folder.path, "tokens.csv"), `${token},lab-admin,lab-admin,system:masters\n`, { mode: 0o600 });
  if (state.full) writeFullCredentials(folder, state.nodeCount);
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  writeFileSync(join(folder.path, "service-accounts.key"), privateKey.export({ type: "pkcs1", format: "pem" }), { mode: 0o600 });
}

/** Token of the lab's administrator. */
export function readToken(folder: LabFolder): string {
  return readFileSync(folder.token, "utf8");
}

/** The API server signs its own certificate at its first start, so this comes after it. */
export function writeKubeconfig({ folder, state, path, token }: { readonly folder: LabFolder; readonly state: LabState; readonly path: string; readonly token: string }): void {
  const certificate = readFileSync(folder.certificate).toString("base64");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "lab",
    clusters: [{ name: "lab", cluster: { server: apiServerUrl(state), "certificate-authority-data": certificate } }],
    users: [{ name: "admin", user: { token } }],
    contexts: [{ name: "lab", context: { cluster: "lab", user: "admin" } }],
  };
  // JSON is YAML.
  writeFileSync(`${path}.new`, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
  // Whoever waits for the file never sees half of it.
  renameSync(`${path}.new`, path);
}
