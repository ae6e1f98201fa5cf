import { type Api, ApiError } from "./api.ts";
import { BACKEND_HOST, type Host } from "./hosts.ts";
import { pause } from "./poll.ts";
import { HOSTNAME_LABEL, type Node, isConditionTrue } from "./pods.ts";

/** A quarter of what Kubernetes uses costs nothing in a lab, and a stale Lease shows sooner. */
const LEASE_RENEWAL_MS = 4000;
const LEASE_RETRY_MS = 1000;
const LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/**
 * Plays the part of the kubelet that keeps a Node: registers it, says it is Ready, and renews its
 * Lease, all of which stop while the node has no power or cannot reach the API server.
 */
export class NodeKeeper {
  readonly host: Host;
  readonly #api: Api;
  /** The node's machine runs. */
  powered = true;
  /** The node's network reaches the API server. */
  reachable = true;

  constructor(api: Api, host: Host) {
    this.#api = api;
    this.host = host;
  }

  /** Whether a kubelet on this node could say anything to the API server. */
  get speaks(): boolean {
    return this.powered && this.reachable;
  }

  /** Registers the Node, tries until it is done, then renews the Lease for ever. */
  async run(kubeletVersion: string): Promise<never> {
    while (!(await this.#try(() => this.#register(kubeletVersion)))) await pause(200);
    for (;;) {
      const renewed = !this.speaks || (await this.#try(() => this.#renew()));
      // After a stop of the API server a Node must not wait to be doubted.
      await pause(renewed ? LEASE_RENEWAL_MS : LEASE_RETRY_MS);
    }
  }

  /** Reacts to the Node as the API has it: says Ready again after the controller doubted it. */
  async observe(node: Node): Promise<void> {
    if (this.speaks && !isConditionTrue(node, "Ready")) await this.#try(() => this.#sayReady());
  }

  /** Called when power or network came back. */
  async resume(): Promise<void> {
    await this.#try(async () => {
      await this.#renew();
      await this.#sayReady();
    });
  }

  async #register(kubeletVersion: string): Promise<void> {
    const { name, ipv4, ipv6, pods } = this.host;
    const isBackend = name === BACKEND_HOST;
    await this.#createOnce("/api/v1/nodes", {
      apiVersion: "v1",
      kind: "Node",
      metadata: {
        name,
        labels: {
          [HOSTNAME_LABEL]: name,
          "kubernetes.io/os": "linux",
          "kubernetes.io/arch": process.arch === "x64" ? "amd64" : process.arch,
          // The backend host holds backends and nothing else: no speaker, no announcements.
          ...(isBackend ? { "node.kubernetes.io/exclude-from-external-load-balancers": "" } : {}),
        },
      },
      spec: {
        podCIDR: pods?.ipv4Range,
        podCIDRs: pods && [pods.ipv4Range, pods.ipv6Range],
        ...(isBackend ? { taints: [{ key: "lab.herald/backend", effect: "NoSchedule" }] } : {}),
      },
    });
    const resources = { cpu: "8", memory: "16Gi", pods: "200" };
    await this.#patchStatus({
      addresses: [{ type: "InternalIP", address: ipv4 }, { type: "InternalIP", address: ipv6 }, { type: "Hostname", address: name }],
      capacity: resources,
      allocatable: resources,
      nodeInfo: {
        architecture: "amd64", bootID: "", containerRuntimeVersion: "lab://1", kernelVersion: "", kubeProxyVersion: "", kubeletVersion,
        machineID: "", operatingSystem: "linux", osImage: "network namespace", systemUUID: "",
      },
      conditions: [this.#ready()],
    });
    const now = microTime();
    await this.#createOnce(LEASES, {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: { name, namespace: "kube-node-lease" },
      spec: { holderIdentity: name, leaseDurationSeconds: 40, renewTime: now },
    });
    await this.#renew();
  }

  async #renew(): Promise<void> {
    await this.#api.call("PATCH", `${LEASES}/${this.host.name}`, { spec: { holderIdentity: this.host.name, renewTime: microTime() } });
  }

  async #sayReady(): Promise<void> {
    await this.#patchStatus({ conditions: [this.#ready()] });
  }

  #ready(): unknown {
    const now = new Date().toISOString();
    return { type: "Ready", status: "True", reason: "KubeletReady", message: "the lab says so", lastHeartbeatTime: now, lastTransitionTime: now };
  }

  async #patchStatus(status: unknown): Promise<void> {
    await this.#api.call("PATCH", `/api/v1/nodes/${this.host.name}/status`, { status });
  }

  async #createOnce(path: string, object: unknown): Promise<void> {
    try {
      await this.#api.call("POST", path, object);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 409)) throw error;
    }
  }

  async #try(action: () => Promise<void>): Promise<boolean> {
    try {
      await action();
      return true;
    } catch (error) {
      console.log(`node ${this.host.name}: ${error instanceof Error ? error.message : String(error)}`);
      return false;
    }
  }
}

function microTime(): string {
  return new Date().toISOString().replace("Z", "000Z");
}
