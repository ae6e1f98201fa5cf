/**
 * Which configuration runs. A set of resources is judged as a whole; an invalid one is refused and the last good one runs
 * on. A valid one that has no place for an address announced now waits until the controller has moved that Service.
 */
import type { Config, FieldError } from "../config/config.ts";
import { parseConfig } from "../config/parse-config.ts";
import type { ConfigResources } from "../config/parse-config.ts";
import type { SharedMetrics } from "../kube/metrics.ts";
import type { Clock, Timer } from "../sys/clock.ts";
import type { Logger } from "../sys/log.ts";

/** Resources change in bursts: several are applied together, and only their end is worth judging (milliseconds). */
const settleMs = 20;
/** How often to look whether a Service that holds a new configuration up has moved (milliseconds). */
const waitMs = 500;

export interface ConfigKeeperOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Pick<SharedMetrics, "configLoaded" | "configStale">;
  readonly resources: () => ConfigResources;
  /** Keys of Services announced now that have no place in a configuration. */
  readonly servicesOutside: (config: Config) => readonly string[];
  readonly onConfig: (config: Config) => void;
  /** The newest resources were judged: what is wrong with them, as one text a line; [] when they run. */
  readonly onVerdict: (problems: readonly string[]) => void;
}

/** See the head of the file. */
export class ConfigKeeper {
  readonly #options: ConfigKeeperOptions;
  /** Text of the resources whose configuration runs; see `textOf`. */
  #running: string | undefined;
  #problems: string | undefined;
  #planned: { readonly at: number; readonly timer: Timer } | undefined;

  constructor(options: ConfigKeeperOptions) {
    this.#options = options;
  }

  /** Some resource has changed: judges all of them, soon. */
  changed(): void {
    this.#judgeIn(settleMs);
  }

  /** Judges the resources now. */
  judge(): void {
    this.stop();
    const resources = this.#options.resources();
    const text = textOf(resources);
    if (text === this.#running) {
      this.#conclude([]);
      return;
    }
    const result = parseConfig(resources);
    if (result.kind === "invalid") {
      this.#conclude(result.errors.map(describe));
      return;
    }
    const outside = this.#options.servicesOutside(result.config);
    if (outside.length > 0) {
      const named = outside.slice(0, 5).join(", ") + (outside.length > 5 ? ` and ${outside.length - 5} more` : "");
      this.#conclude([`no pool holds the addresses of ${named}, which are still announced`]);
      this.#judgeIn(waitMs);
      return;
    }
    this.#running = text;
    this.#options.onConfig(result.config);
    this.#options.log.info("configLoaded", { pools: result.config.pools.size, l2Advertisements: result.config.l2Advertisements.length });
    this.#options.metrics.configLoaded.set(1);
    this.#conclude([]);
  }

  /** Forgets what is planned. */
  stop(): void {
    this.#planned?.timer.cancel();
    this.#planned = undefined;
  }

  /** The earliest of several calls counts: resources that never rest must not put the judgement off for ever. */
  #judgeIn(ms: number): void {
    const at = this.#options.clock.now() + ms;
    if (this.#planned !== undefined && this.#planned.at <= at) return;
    this.stop();
    this.#planned = { at, timer: this.#options.clock.after(ms, () => this.judge()) };
  }

  #conclude(problems: readonly string[]): void {
    this.#options.metrics.configStale.set(problems.length > 0 ? 1 : 0);
    const text = problems.join("\n");
    if (text === this.#problems) return;
    this.#problems = text;
    if (problems.length > 0) this.#options.log.error("configRefused", { reason: problems.join("; "), running: this.#running !== undefined });
    this.#options.onVerdict(problems);
  }
}

function describe(error: FieldError): string {
  return `${error.kind} ${error.name}: ${error.path}: ${error.message}`;
}

/** Equal for resources that make the same configuration: names, labels and specs, in the order of names. */
function textOf(resources: ConfigResources): string {
  return JSON.stringify(
    [resources.pools, resources.l2Advertisements].map((objects) =>
      objects.map(({ metadata, spec }) => JSON.stringify([metadata.name, metadata.labels ?? {}, spec ?? null])).sort(),
    ),
  );
}
