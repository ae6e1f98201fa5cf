/**
 * History and watches of the fake API server.
 */
import { KubeError, type WatchEvent, type WatchOptions } from "./client.ts";
import { matchesList } from "./fake-selectors.ts";
import type { KubeObject } from "./objects.ts";

/** One change of one object. `previous` is what was stored before. */
export interface HistoryEntry {
  readonly version: number;
  /** "group/plural". */
  readonly typeKey: string;
  readonly object: KubeObject;
  readonly previous: KubeObject | undefined;
  readonly deleted: boolean;
}

interface Watch {
  readonly typeKey: string;
  readonly options: WatchOptions;
  readonly pending: WatchEvent<KubeObject>[];
  ended: boolean;
  error: KubeError | undefined;
  wake: () => void;
}

/** All changes since the last compaction, and those who follow them. */
export class FakeWatches {
  readonly #watches = new Set<Watch>();
  #history: HistoryEntry[] = [];
  #compacted = 0;

  /** Number of open watches. */
  get open(): number {
    return this.#watches.size;
  }

  /** Adds a change and tells the watches. */
  record(entry: HistoryEntry): void {
    this.#history.push(entry);
    for (const watch of this.#watches) push(watch, entry);
  }

  /** Forgets everything up to `version`, and with it the watches from before. */
  compact(version: number): void {
    this.#compacted = version;
    this.#history = this.#history.filter((entry) => entry.version > version);
  }

  /** Sends a bookmark to every watch. */
  bookmark(resourceVersion: string): void {
    for (const watch of this.#watches) {
      watch.pending.push({ type: "BOOKMARK", resourceVersion });
      watch.wake();
    }
  }

  /** The watches of now hear nothing any more, and nobody tells them. */
  mute(): void {
    this.#watches.clear();
  }

  /** Ends every watch, with `error` if given. */
  end(error?: KubeError): void {
    for (const watch of this.#watches) {
      watch.ended = true;
      watch.error = error;
      // What happens from now on reaches nobody through this watch, even if its reader is slow to notice the end.
      this.#watches.delete(watch);
      watch.wake();
    }
  }

  /** Follows the changes after `options.resourceVersion` until the signal, the end, or an error. @throws KubeError 410 */
  async *follow(typeKey: string, options: WatchOptions): AsyncGenerator<WatchEvent<KubeObject>> {
    const from = Number(options.resourceVersion);
    if (Number.isNaN(from)) throw new KubeError({ code: 400, reason: "BadRequest", message: `invalid resource version: ${options.resourceVersion}` });
    if (from < this.#compacted) throw new KubeError({ code: 410, reason: "Expired", message: `too old resource version: ${from} (${this.#compacted})` });
    const watch: Watch = { typeKey, options, pending: [], ended: false, error: undefined, wake: () => {} };
    for (const entry of this.#history) if (entry.version > from) push(watch, entry);
    const onAbort = (): void => {
      watch.ended = true;
      watch.wake();
    };
    options.signal.addEventListener("abort", onAbort);
    this.#watches.add(watch);
    options.onOpen?.();
    try {
      while (!options.signal.aborted) {
        const event = watch.pending.shift();
        if (event !== undefined) yield event;
        else if (watch.error !== undefined) throw watch.error;
        else if (watch.ended) return;
        else {
          await new Promise<void>((resolve) => {
            watch.wake = resolve;
          });
        }
      }
    } finally {
      this.#watches.delete(watch);
      options.signal.removeEventListener("abort", onAbort);
    }
  }
}

/** A selector turns a change into what this watch sees: an object that stops matching is "DELETED" for it. */
function push(watch: Watch, entry: HistoryEntry): void {
  if (entry.typeKey !== watch.typeKey) return;
  const before = entry.previous !== undefined && matchesList(entry.previous, watch.options);
  const after = !entry.deleted && matchesList(entry.object, watch.options);
  if (!before && !after) return;
  const type = !after ? "DELETED" : before ? "MODIFIED" : "ADDED";
  watch.pending.push({ type, object: entry.object });
  watch.wake();
}
