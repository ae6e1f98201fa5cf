import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type Host, namespaceOf } from "./hosts.ts";
import { HERALD_NAMESPACE, type Pod, type ProgramOverride, componentOf, overrideOf } from "./pods.ts";
import { type ProcessRecord, type ProcessTable, endProcess, nsenterArgv, signalProcess } from "./processes.ts";
import { NODE, programPath } from "./programs.ts";

const run = promisify(execFile);

const FAST_PROBE_MS = 250;
const SLOW_PROBE_MS = 3000;
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 8000;
/** A run this long counts as a success, and the next backoff is the first again. */
const LONG_RUN_MS = 10_000;
/** Default of Herald's flag --health-probe-port. */
const HEALTH_PORT = 17472;

/** What a program needs to know to run as a pod. */
export interface PodProgramOptions {
  readonly lab: string;
  readonly host: Host;
  readonly pod: Pod;
  readonly program: string;
  readonly kubeconfig: string;
  readonly processes: ProcessTable;
  /** Folders that stand for the pod's volumes, by the path where the pod has them. */
  readonly volumes: ReadonlyMap<string, string>;
  /** Called when readiness or the number of restarts changed. */
  readonly changed: () => void;
}

/** A program that runs as a pod on its node: started again when it ends, probed for readiness. */
export class PodProgram {
  readonly #options: PodProgramOptions;
  readonly #name: string;
  readonly #override: ProgramOverride;
  readonly #args: readonly string[];
  #record: ProcessRecord | undefined;
  #wanted = false;
  #backoffMs = FIRST_BACKOFF_MS;
  #startedAt = 0;
  #probe: NodeJS.Timeout | undefined;
  #again: NodeJS.Timeout | undefined;
  #starts = 0;
  ready = false;

  constructor(options: PodProgramOptions) {
    this.#options = options;
    const component = componentOf(options.pod);
    this.#override = overrideOf(options.pod, options.host.name);
    this.#args = [...(options.pod.spec.containers[0]?.args ?? []), ...(this.#override.args ?? [])];
    this.#name = component ? `${component}-${options.host.name}` : options.pod.metadata.name;
  }

  get restarts(): number {
    return Math.max(0, this.#starts - 1);
  }

  /** Starts the program and keeps it running. Nothing happens when it already does. */
  start(): void {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#backoffMs = FIRST_BACKOFF_MS;
    this.#launch();
  }

  /** Ends the program and leaves it ended. */
  async stop(graceMs: number): Promise<void> {
    this.#wanted = false;
    clearTimeout(this.#again);
    clearTimeout(this.#probe);
    const record = this.#record;
    this.#record = undefined;
    if (record) await endProcess(record, graceMs);
    this.#setReady(false);
  }

  /** Kills the program without a word; it is started again after the backoff. */
  kill(): boolean {
    return this.#record !== undefined && signalProcess(this.#record, "SIGKILL");
  }

  #launch(): void {
    const { lab, host, processes } = this.#options;
    this.#starts += 1;
    this.#startedAt = performance.now();
    try {
      const record: ProcessRecord = processes.start({
        name: this.#name,
        namespace: namespaceOf(lab, host.name),
        argv: [NODE, this.#options.program, ...this.#args],
        env: this.#environment(),
        onExit: () => this.#ended(record),
      });
      this.#record = record;
    } catch (error) {
      console.log(`${this.#name}: ${String(error)}`);
      this.#scheduleLaunch();
      return;
    }
    this.#scheduleProbe(FAST_PROBE_MS);
  }

  #ended(record: ProcessRecord): void {
    if (this.#record !== record) return;
    this.#record = undefined;
    clearTimeout(this.#probe);
    this.#setReady(false);
    if (performance.now() - this.#startedAt > LONG_RUN_MS) this.#backoffMs = FIRST_BACKOFF_MS;
    if (this.#wanted) this.#scheduleLaunch();
  }

  #scheduleLaunch(): void {
    this.#again = setTimeout(() => {
      this.#launch();
      this.#options.changed();
    }, this.#backoffMs);
    this.#backoffMs = Math.min(this.#backoffMs * 2, MAX_BACKOFF_MS);
  }

  #scheduleProbe(delayMs: number): void {
    clearTimeout(this.#probe);
    this.#probe = setTimeout(() => void this.#probeOnce(), delayMs);
  }

  async #probeOnce(): Promise<void> {
    const record = this.#record;
    const url = `http://127.0.0.1:${this.#healthPort()}/readyz`;
    const curl = [programPath("curl"), "-sf", "-o", "/dev/null", "--max-time", "2", url];
    const ready = await run("nsenter", nsenterArgv(namespaceOf(this.#options.lab, this.#options.host.name), curl)).then(() => true, () => false);
    if (record === undefined || this.#record !== record) return;
    this.#setReady(ready);
    this.#scheduleProbe(ready ? SLOW_PROBE_MS : FAST_PROBE_MS);
  }

  #setReady(ready: boolean): void {
    if (this.ready === ready) return;
    this.ready = ready;
    this.#options.changed();
  }

  #healthPort(): number {
    const value = /(?:^|\s)--?health-probe-port[=\s](\d+)/.exec(this.#args.join(" "))?.[1];
    return value === undefined ? HEALTH_PORT : Number(value);
  }

  /** What the chart sets for Herald's pods, and above it what the pod itself says. */
  #environment(): Record<string, string> {
    const { pod, host, kubeconfig } = this.#options;
    const fields: Record<string, string> = {
      "metadata.name": pod.metadata.name,
      "metadata.namespace": pod.metadata.namespace ?? "",
      "spec.nodeName": host.name,
      "status.podIP": host.ipv4,
      "status.hostIP": host.ipv4,
    };
    const environment: Record<string, string> = {
      KUBECONFIG: kubeconfig,
      METALLB_NODE_NAME: host.name,
      METALLB_POD_NAME: pod.metadata.name,
      METALLB_NAMESPACE: pod.metadata.namespace ?? HERALD_NAMESPACE,
      METALLB_HOST: host.ipv4,
      METALLB_DEPLOYMENT: "controller",
      METALLB_ML_SECRET_NAME: "memberlist",
    };
    for (const entry of pod.spec.containers[0]?.env ?? []) {
      const path = entry.valueFrom?.fieldRef?.fieldPath ?? "";
      const label = /^metadata\.labels\['(.+)'\]$/.exec(path)?.[1];
      const value = entry.value ?? (label === undefined ? fields[path] : pod.metadata.labels?.[label] ?? "");
      if (value !== undefined) environment[entry.name] = this.#onThisMachine(value);
    }
    return { ...environment, ...this.#override.env };
  }

  /** A path in one of the pod's volumes as it is on this machine; anything else as it is. */
  #onThisMachine(value: string): string {
    for (const [mountPath, folder] of this.#options.volumes) {
      if (value === mountPath || value.startsWith(`${mountPath}/`)) return folder + value.slice(mountPath.length);
    }
    return value;
  }
}
