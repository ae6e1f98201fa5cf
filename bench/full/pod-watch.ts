import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { FullLab } from "../../test/lab/full/full-lab.ts";
import { CONTROL_HOST } from "../../test/lab/hosts.ts";
import { HERALD_NAMESPACE } from "../../test/lab/pods.ts";
import { poll } from "../../test/lab/poll.ts";
import { nsenterArgv } from "../../test/lab/processes.ts";
import { programPath } from "../../test/lab/programs.ts";

/** When something of a pod was seen for the first time, Unix ms. */
export interface PodSeen {
  readonly createdAt: number;
  /** Its container runs. */
  runningAt?: number;
  readyAt?: number;
}

/** Follows the pods of Herald's namespace through one watch, whether or not the namespace is there. */
export class PodWatch {
  readonly #child: ChildProcess;
  readonly #pods = new Map<string, PodSeen>();

  /** Starts to follow. */
  constructor(lab: FullLab) {
    const jsonpath = 'jsonpath={.type} {.object.metadata.name} {.object.status.containerStatuses[0].state.running.startedAt} {.object.status.conditions[?(@.type=="Ready")].status}{"\\n"}';
    const kubectl = [programPath("kubectl"), `--kubeconfig=${lab.kubeconfig}`, "get", "pods", "-n", HERALD_NAMESPACE, "--watch", "--output-watch-events", "-o", jsonpath];
    this.#child = spawn("nsenter", nsenterArgv(lab.namespace(CONTROL_HOST), kubectl), { stdio: ["ignore", "pipe", "inherit"] });
    if (this.#child.stdout) createInterface({ input: this.#child.stdout }).on("line", (line) => this.#take(line));
  }

  /** Waits until so many pods are Ready. @returns what was seen of each */
  async untilReady(count: number, timeoutMs: number): Promise<readonly Required<PodSeen>[]> {
    return poll(() => {
      const ready = [...this.#pods.values()].filter((pod): pod is Required<PodSeen> => pod.runningAt !== undefined && pod.readyAt !== undefined);
      return ready.length >= count && ready;
    }, { timeoutMs, intervalMs: 5, what: `${count} pods to be Ready` });
  }

  /** Ends the watch. */
  stop(): void {
    this.#child.kill("SIGKILL");
  }

  #take(line: string): void {
    const [type, name = "", startedAt, ready] = line.split(" ");
    if (type === "DELETED") {
      this.#pods.delete(name);
      return;
    }
    const now = Date.now();
    const pod = this.#pods.get(name) ?? { createdAt: now };
    this.#pods.set(name, pod);
    if (startedAt !== "") pod.runningAt ??= now;
    if (ready === "True") pod.readyAt ??= now;
  }
}
