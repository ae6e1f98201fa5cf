/** The files and flags of a node of the full lab. Nothing here starts anything. */
import { randomBytes } from "node:crypto";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { NODE_GRACE_SECONDS } from "../control-plane.ts";
import { BACKEND_HOST, CONTROL_HOST, type Host, POD_RANGES } from "../hosts.ts";
import { labImage } from "../images.ts";
import { programPath } from "../programs.ts";
import type { FullLabSettings } from "../state.ts";

/** Taint of the node that runs pods which ask for it. */
export const BACKEND_TAINT = "herald.invalid/backend";

/** Our wrap of the CNI plugin ptp. */
const PLUGIN = "lab-ptp";

/** What a node is made of. */
export interface NodeFiles {
  readonly host: Host;
  readonly settings: FullLabSettings;
  /** Folder for the files written here. */
  readonly config: string;
  /** The node's control group, from the root of the hierarchies. */
  readonly cgroup: string;
}

/** Writes the files that the node's programs read, apart from the kubeconfigs. */
export function writeNodeFiles({ host, settings, config, cgroup }: NodeFiles): void {
  mkdirSync(join(config, "net.d"), { recursive: true });
  mkdirSync(join(config, "plugins"), { recursive: true });
  const plugins = { ptp: programPath("ptp"), "host-local": programPath("host-local"), loopback: programPath("loopback"), [PLUGIN]: join(import.meta.dirname, "cni-ptp.sh") };
  for (const [name, path] of Object.entries(plugins)) {
    rmSync(join(config, "plugins", name), { force: true });
    symlinkSync(path, join(config, "plugins", name));
  }
  const files = {
    "containerd.toml": containerdConfig(config, settings),
    "net.d/10-lab.conflist": JSON.stringify(cniConfig(host, settings)),
    "kubelet.json": JSON.stringify(kubeletConfig(config, cgroup, settings)),
    "resolv.conf": "",
    "machine-id": `${randomBytes(16).toString("hex")}\n`,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(config, name), text);
}

/** Environment of node-init.sh: which programs to start, and how. */
export function nodeEnvironment({ host, settings, config }: NodeFiles): Record<string, string> {
  const taints: Readonly<Record<string, string>> = {
    [CONTROL_HOST]: "node-role.kubernetes.io/control-plane=:NoSchedule",
    [BACKEND_HOST]: `${BACKEND_TAINT}=:NoSchedule`,
  };
  const taint = taints[host.name];
  const kubelet = [
    `--config=${join(config, "kubelet.json")}`, `--kubeconfig=${join(config, "kubelet.kubeconfig")}`, `--hostname-override=${host.name}`,
    `--node-ip=${inOrder(settings, host.ipv4, host.ipv6).join(",")}`, ...(taint === undefined ? [] : [`--register-with-taints=${taint}`]), "--v=1",
  ];
  const kubeProxy = [
    `--kubeconfig=${join(config, "kube-proxy.kubeconfig")}`, `--hostname-override=${host.name}`, `--proxy-mode=${settings.proxyMode}`,
    `--cluster-cidr=${inOrder(settings, ...(POD_RANGES.split(",") as [string, string])).join(",")}`,
    // It would set the machine's own limits for these.
    "--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0", "--v=1",
  ];
  return {
    CONTAINERD: programPath("containerd"),
    CTR: programPath("ctr"),
    KUBELET: programPath("kubelet"),
    KUBE_PROXY: programPath("kube-proxy"),
    IMAGES: [labImage("pause"), labImage("backend")].map(({ archive }) => archive).join(" "),
    KUBELET_FLAGS: kubelet.join(" "),
    KUBE_PROXY_FLAGS: kubeProxy.join(" "),
  };
}

/** The first family's first. */
function inOrder(settings: FullLabSettings, ipv4: string, ipv6: string): string[] {
  return settings.family === "ipv6" ? [ipv6, ipv4] : [ipv4, ipv6];
}

function containerdConfig(config: string, settings: FullLabSettings): string {
  return `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${labImage("pause").reference}"
  # Root in a namespace may not give a process a better score than its own.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${join(config, "plugins")}"
    conf_dir = "/etc/cni/net.d"
    ip_pref = "${settings.family}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "${programPath("runc")}"
      SystemdCgroup = false
`;
}

/** A veth per pod with routes on the node: no bridge, and so none of a bridge's questions. */
function cniConfig({ pods }: Host, settings: FullLabSettings): unknown {
  const ranges = inOrder(settings, pods?.ipv4Range ?? "", pods?.ipv6Range ?? "").map((subnet) => [{ subnet }]);
  const routes = inOrder(settings, "0.0.0.0/0", "::/0").map((dst) => ({ dst }));
  return { cniVersion: "0.4.0", name: "lab", plugins: [{ type: PLUGIN, ipMasq: false, mtu: 1500, ipam: { type: "host-local", ranges, routes } }] };
}

function kubeletConfig(config: string, cgroup: string, settings: FullLabSettings): unknown {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    // Whoever reaches it is in the lab.
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: "AlwaysAllow" },
    containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
    cgroupDriver: "cgroupfs",
    cgroupRoot: cgroup,
    failCgroupV1: false,
    failSwapOn: false,
    enforceNodeAllocatable: [],
    // Nobody answers there; without it every pod would have an event that says so.
    clusterDNS: [settings.family === "ipv6" ? "fd00:96::a" : "10.96.0.10"],
    resolvConf: join(config, "resolv.conf"),
    // How full the machine's disk is is no business of the lab's.
    evictionHard: { "memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%", "imagefs.inodesFree": "0%" },
    imageGCHighThresholdPercent: 100,
    nodeLeaseDurationSeconds: NODE_GRACE_SECONDS,
    nodeStatusUpdateFrequency: "5s",
    maxPods: 200,
    registryPullQPS: 0,
    shutdownGracePeriod: "0s",
  };
}
