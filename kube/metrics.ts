/**
 * The metrics that controller and speaker share, under MetalLB's names.
 */
import { Counter, Gauge, Registry } from "prom-client";
import { processUsage } from "../sys/process.ts";
import type { Verdict } from "./work-queue.ts";

export interface SharedMetrics {
  readonly registry: Registry;
  /** metallb_k8s_client_updates_total: pieces of work that a work queue handled. */
  readonly updates: Counter;
  /** metallb_k8s_client_update_errors_total: pieces of work that failed and are tried again, or given up. */
  readonly updateErrors: Counter;
  /** metallb_k8s_client_config_loaded_bool: 1 after the first good configuration, never back to 0. */
  readonly configLoaded: Gauge;
  /** metallb_k8s_client_config_stale_bool: 1 while the newest configuration is refused. */
  readonly configStale: Gauge;
}

/** Makes the shared metrics in a registry of their own; add further ones to `registry`. */
export function createSharedMetrics(): SharedMetrics {
  const registry = new Registry();
  const registers = [registry];
  addProcessMetrics(registers);
  return {
    registry,
    updates: new Counter({ name: "metallb_k8s_client_updates_total", help: "Objects worked on, whatever came of it.", registers }),
    updateErrors: new Counter({ name: "metallb_k8s_client_update_errors_total", help: "Objects whose work failed, to be tried again or given up.", registers }),
    configLoaded: new Gauge({ name: "metallb_k8s_client_config_loaded_bool", help: "1 once a good configuration has been taken, else 0.", registers }),
    configStale: new Gauge({ name: "metallb_k8s_client_config_stale_bool", help: "1 while the newest configuration is refused and an older one runs.", registers }),
  };
}

/** What to give a WorkQueue as `onVerdict`, so that its work is counted. */
export function countVerdicts(metrics: SharedMetrics): (key: string, verdict: Verdict) => void {
  return (_key, verdict) => {
    metrics.updates.inc();
    if (verdict === "retry" || verdict === "giveUp") metrics.updateErrors.inc();
  };
}

/**
 * The three process metrics that dashboards use. prom-client's default set has them too, but with them a timer that wakes
 * the process a hundred times a second to measure the event loop's lag.
 */
function addProcessMetrics(registers: Registry[]): void {
  const resident: Gauge = new Gauge({ name: "process_resident_memory_bytes", help: "Resident memory in bytes.", registers, collect: () => void resident.set(processUsage().residentBytes) });
  const started: Gauge = new Gauge({ name: "process_start_time_seconds", help: "Start of the process, in seconds since 1970.", registers, collect: () => void started.set(processUsage().startedSeconds) });
  let counted = 0;
  const cpu: Counter = new Counter({
    name: "process_cpu_seconds_total",
    help: "User and system time in seconds.",
    registers,
    collect: () => {
      const { cpuSeconds } = processUsage();
      cpu.inc(Math.max(0, cpuSeconds - counted));
      counted = cpuSeconds;
    },
  });
}
