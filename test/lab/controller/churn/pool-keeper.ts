/**
 * Somebody who rearranges the pools all the time, by a seeded generator: they grow, shrink, are split, renamed and
 * merged, deleted and made again, and namespaces change their labels. In the end all is as it was in the beginning.
 */
import { type KubeClient, KubeError } from "../../../../kube/client.ts";
import { ipAddressPools, namespaces } from "../../../../kube/objects.ts";
import type { Random } from "../../../../sys/random.ts";
import { pause } from "../../poll.ts";
import type { PoolSpec } from "./pool-book.ts";

const NAMESPACE = "metallb-system";
const RETRY_MS = 200;
/** Longest rest between two changes, and between the two halves of one (milliseconds). */
const MAX_REST_MS = 1500;
const MAX_GAP_MS = 600;

/** Kinds of pools; a pool's name begins with its kind. Which block of addresses is whose changes, to which kind it belongs does not. */
const KINDS = {
  main: { blocks: ["172.30.0.0/24", "172.30.1.0/24", "172.30.2.0/24", "172.30.3.0/24", "fd00:30::/113", "fd00:30::8000/113"], spare: ["172.28.0.0/25", "fd00:28::/120"], rest: {} },
  named: { blocks: ["172.31.0.0/23", "172.31.2.0/23", "fd00:31::/112"], spare: ["172.28.1.0/25"], rest: { autoAssign: false } },
  team: { blocks: ["172.29.0.0/25", "172.29.0.128/25", "fd00:29::/112"], spare: [], rest: { serviceAllocation: { priority: 10, namespaceSelectors: [{ matchLabels: { team: "blue" } }] } } },
} as const satisfies Readonly<Record<string, { readonly blocks: readonly string[]; readonly spare: readonly string[]; readonly rest: Omit<PoolSpec, "addresses"> }>>;
type Kind = keyof typeof KINDS;

/** What it does. */
export const CHANGES = ["shrink", "rename", "split", "relabel", "delete and make again", "grow", "merge"] as const;
type Change = (typeof CHANGES)[number];

/** Blocks of addresses by pool. */
type Layout = ReadonlyMap<string, readonly string[]>;

const HOME: Layout = new Map(Object.entries(KINDS).map(([kind, { blocks }]) => [kind, blocks]));

export class PoolKeeper {
  /** Changes made, by kind. */
  readonly counts = new Map<string, number>();
  readonly #client: KubeClient;
  readonly #random: Random;
  readonly #teams: readonly string[];
  #layout: Layout = new Map();
  #serial = 0;

  /** @param teams namespaces that change their label "team". */
  constructor({ client, random, teams }: { readonly client: KubeClient; readonly random: Random; readonly teams: readonly string[] }) {
    this.#client = client;
    this.#random = random;
    this.#teams = teams;
  }

  /** Makes the pools, or all of them as they were. */
  async restore(): Promise<void> {
    await this.#arrange(HOME, "add first");
  }

  /** Rearranges until `until` says so. */
  async keepBusy(until: () => boolean): Promise<void> {
    for (let round = 0; !until(); round++) {
      await pause(this.#random.next() * MAX_REST_MS);
      await this.#change(round);
    }
  }

  async #change(round: number): Promise<void> {
    const moves: Readonly<Record<Change, () => Promise<boolean>>> = {
      shrink: () => this.#shrink(),
      rename: () => this.#rename(),
      split: () => this.#split(),
      relabel: () => this.#relabel(),
      "delete and make again": () => this.#remake(),
      grow: () => this.#grow(),
      merge: () => this.#merge(),
    };
    // Each comes early in every run.
    const change = CHANGES[round] ?? this.#pick(CHANGES);
    if (await moves[change]()) this.counts.set(change, (this.counts.get(change) ?? 0) + 1);
  }

  async #grow(): Promise<boolean> {
    const used = new Set([...this.#layout.values()].flat());
    const name = this.#pick([...this.#layout.keys()]);
    const { blocks, spare } = KINDS[kindOf(name)];
    const free = [...blocks, ...spare].filter((block) => !used.has(block));
    if (free.length === 0) return false;
    await this.#arrange(this.#with([name, [...(this.#layout.get(name) ?? []), this.#pick(free)]]), "add first");
    return true;
  }

  async #shrink(): Promise<boolean> {
    const several = [...this.#layout].filter(([, all]) => all.length > 1);
    if (several.length === 0) return false;
    const [name, blocks] = this.#pick(several);
    const gone = this.#pick(blocks);
    await this.#arrange(this.#with([name, blocks.filter((block) => block !== gone)]), "remove first");
    return true;
  }

  /** With "add first" the pools overlap for a while, which is no configuration: nobody may lose an address of them. */
  async #split(): Promise<boolean> {
    const several = [...this.#layout].filter(([, all]) => all.length > 1);
    if (several.length === 0) return false;
    const [name, blocks] = this.#pick(several);
    const at = 1 + Math.floor(this.#random.next() * (blocks.length - 1));
    await this.#arrange(this.#with([name, blocks.slice(0, at)], [this.#newName(name), blocks.slice(at)]), this.#anyOrder());
    return true;
  }

  async #rename(): Promise<boolean> {
    const [name, blocks] = this.#pick([...this.#layout]);
    await this.#arrange(this.#with([name, []], [this.#newName(name), blocks]), "add first");
    return true;
  }

  async #merge(): Promise<boolean> {
    const pairs = [...this.#layout.keys()].flatMap((a) => [...this.#layout.keys()].filter((b) => a !== b && kindOf(a) === kindOf(b)).map((b) => [a, b] as const));
    if (pairs.length === 0) return false;
    const [from, to] = this.#pick(pairs);
    await this.#arrange(this.#with([from, []], [to, [...(this.#layout.get(to) ?? []), ...(this.#layout.get(from) ?? [])]]), this.#anyOrder());
    return true;
  }

  async #remake(): Promise<boolean> {
    const before = this.#layout;
    await this.#arrange(this.#with([this.#pick([...before.keys()]), []]), "remove first");
    await pause(this.#random.next() * MAX_GAP_MS);
    await this.#arrange(before, "add first");
    return true;
  }

  async #relabel(): Promise<boolean> {
    const [name, team] = [this.#pick(this.#teams), this.#pick(["blue", "red", null])];
    await this.#until(() => this.#client.patch(namespaces, { name }, { metadata: { labels: { team } } }));
    return true;
  }

  #anyOrder(): "add first" | "remove first" {
    return this.#random.next() < 0.5 ? "add first" : "remove first";
  }

  #newName(name: string): string {
    this.#serial += 1;
    return `${kindOf(name)}-${this.#serial}`;
  }

  /** Today's layout with these pools changed; one without blocks is no more. */
  #with(...changes: readonly (readonly [name: string, blocks: readonly string[]])[]): Layout {
    return new Map([...new Map([...this.#layout, ...changes])].filter(([, blocks]) => blocks.length > 0));
  }

  async #arrange(next: Layout, order: "add first" | "remove first"): Promise<void> {
    const names = [...new Set([...this.#layout.keys(), ...next.keys()])];
    const half = new Map(names.map((name) => {
      const [before, after] = [this.#layout.get(name) ?? [], next.get(name) ?? []];
      return [name, order === "add first" ? [...new Set([...before, ...after])] : before.filter((block) => after.includes(block))];
    }));
    const isWritten = await this.#write(half);
    if (isWritten) await pause(this.#random.next() * MAX_GAP_MS);
    await this.#write(new Map(names.map((name) => [name, next.get(name) ?? []])));
  }

  /** @returns whether there was anything to write */
  async #write(layout: Layout): Promise<boolean> {
    const changed = [...layout].filter(([name, blocks]) => JSON.stringify(this.#layout.get(name) ?? []) !== JSON.stringify(blocks));
    for (const [name, blocks] of changed) {
      await this.#until(() => this.#writePool(name, blocks));
      this.#layout = this.#with([name, blocks]);
    }
    return changed.length > 0;
  }

  async #writePool(name: string, addresses: readonly string[]): Promise<void> {
    const place = { namespace: NAMESPACE, name };
    const spec: PoolSpec = { addresses, ...KINDS[kindOf(name)].rest };
    try {
      if (addresses.length === 0) await this.#client.delete(ipAddressPools, place);
      else await this.#client.patch(ipAddressPools, place, { spec });
    } catch (error) {
      if (!(error instanceof KubeError && error.code === 404)) throw error;
      if (addresses.length > 0) await this.#client.create(ipAddressPools, { apiVersion: "metallb.io/v1beta1", kind: "IPAddressPool", metadata: place, spec });
    }
  }

  /** Tries until it is done: an API server that is away changes nothing in the order of things. */
  async #until(work: () => Promise<unknown>): Promise<void> {
    for (;;) {
      try {
        await work();
        return;
      } catch (error) {
        const isPassing = error instanceof KubeError && (error.code === 0 || error.code === 409 || error.code === 429 || error.code >= 500);
        if (!isPassing) throw error;
        await pause(RETRY_MS);
      }
    }
  }

  #pick<T>(from: readonly T[]): T {
    const picked = from[Math.floor(this.#random.next() * from.length)];
    if (picked === undefined) throw new Error("nothing to pick from");
    return picked;
  }
}

function kindOf(name: string): Kind {
  const kind = (Object.keys(KINDS) as Kind[]).find((each) => name.startsWith(each));
  if (kind === undefined) throw new Error(`a pool of no kind: ${name}`);
  return kind;
}
