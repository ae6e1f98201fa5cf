/**
 * One address for several Services: the terms on which a Service shares, and an address with those who are on it. Two may
 * share when both have terms, the sharing keys are equal, the backends are equal, and no port is wanted by both.
 */
import type { IpAddress } from "../../wire/ip-address.ts";

/** On which terms a Service shares its addresses. One without terms has its addresses for itself. */
export interface SharingTerms {
  /** Value of the annotation allow-shared-ip, never empty. */
  readonly key: string;
  /** Canonical text of the pods it selects if its traffic policy is Local; "" if any node may take its traffic. */
  readonly backend: string;
  /** "TCP/80"; sorted, without doubles. */
  readonly ports: readonly string[];
  /** The same text for the same key and backend. */
  readonly identity: string;
}

/** Why two can't be on one address, and with whom: sorted, never empty. */
export interface SharingClash {
  /** `exclusive`: one of the two has no sharing key. */
  readonly kind: "exclusive" | "key" | "backend" | "port";
  readonly holders: readonly string[];
  /** The port in question, for kind `port`. */
  readonly port?: string;
}

/** Makes terms. `ports` may come in any order. */
export function sharingTerms(key: string, backend: string, ports: readonly string[]): SharingTerms {
  return { key, backend, ports: [...new Set(ports)].sort(), identity: JSON.stringify([key, backend]) };
}

/** Whether the terms are the same, word for word. */
export function sameTerms(a: SharingTerms | undefined, b: SharingTerms | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a === b || (a.identity === b.identity && a.ports.length === b.ports.length && a.ports.every((port, index) => port === b.ports[index]));
}

/** An address that is shared, could be, or shows on several Services for a while though it should not. */
export class SharedAddress {
  readonly address: IpAddress;
  /** Index of its range in the pool's spec. */
  readonly index: number;
  readonly #sharers = new Map<string, SharingTerms>();
  /** Those without terms: who has it for itself, and who gave it up but still shows it. */
  readonly #loners = new Set<string>();
  readonly #ports = new Map<string, string>();

  constructor(address: IpAddress, index: number) {
    this.address = address;
    this.index = index;
  }

  /** Nobody is on it. */
  get isEmpty(): boolean {
    return this.#sharers.size === 0 && this.#loners.size === 0;
  }

  /** Terms of those that share it, any one's; undefined when nobody can join them. */
  get terms(): SharingTerms | undefined {
    return this.#loners.size > 0 ? undefined : this.#sharers.values().next().value;
  }

  /** Everybody on it, sorted. */
  members(): string[] {
    return [...this.#sharers.keys(), ...this.#loners].sort();
  }

  /** Takes the Service in, or changes its terms. */
  put(service: string, terms: SharingTerms | undefined): void {
    this.delete(service);
    if (terms === undefined) {
      this.#loners.add(service);
      return;
    }
    this.#sharers.set(service, terms);
    for (const port of terms.ports) this.#ports.set(port, service);
  }

  delete(service: string): void {
    this.#loners.delete(service);
    for (const port of this.#sharers.get(service)?.ports ?? []) if (this.#ports.get(port) === service) this.#ports.delete(port);
    this.#sharers.delete(service);
  }

  /**
   * What stands between the Service on these terms and the others; undefined when nothing does. O(ports).
   * @param counts whether one without terms is to be counted.
   */
  clash(service: string, terms: SharingTerms | undefined, counts: (loner: string) => boolean): SharingClash | undefined {
    const loners = [...this.#loners].filter((loner) => loner !== service && counts(loner));
    if (loners.length > 0) return { kind: "exclusive", holders: loners.sort() };
    const [one, two] = this.#sharers;
    const other = one?.[0] === service ? two?.[1] : one?.[1];
    if (other === undefined) return undefined;
    const holders = (): string[] => [...this.#sharers.keys()].filter((sharer) => sharer !== service).sort();
    if (terms === undefined) return { kind: "exclusive", holders: holders() };
    if (terms.key !== other.key) return { kind: "key", holders: holders() };
    if (terms.backend !== other.backend) return { kind: "backend", holders: holders() };
    for (const port of terms.ports) {
      const user = this.#ports.get(port);
      if (user !== undefined && user !== service) return { kind: "port", holders: [user], port };
    }
    return undefined;
  }
}

/** Shareable addresses with one key and backend, by place, and how many of the first ones are known to be no use. */
interface Sharers {
  readonly addresses: SharedAddress[];
  /** By list of ports: so many addresses from the first on have one of them in use. */
  readonly barren: Map<string, number>;
}

/** A pool's shareable addresses of one family: finds the lowest that a Service may join without trying each. */
export class SharedIndex {
  readonly #byKey = new Map<string, Map<string, Sharers>>();

  /** Runs a change of the address's members and keeps the index in step. */
  update(shared: SharedAddress, change: () => void): void {
    const before = shared.terms;
    change();
    const after = shared.terms;
    if (before !== undefined) {
      const list = this.#listOf(before);
      const at = list.addresses.indexOf(shared, lowerBound(list.addresses, shared));
      lower(list, at);
      if (before.identity !== after?.identity) {
        list.addresses.splice(at, 1);
        if (list.addresses.length === 0) this.#drop(before);
      }
    }
    if (after !== undefined && before?.identity !== after.identity) {
      const list = this.#listOf(after);
      const at = lowerBound(list.addresses, shared);
      list.addresses.splice(at, 0, shared);
      lower(list, at);
    }
  }

  /** The lowest address that the Service may join. Amortised O(log n) while nobody leaves. */
  lowest(service: string, terms: SharingTerms): SharedAddress | undefined {
    const list = this.#byKey.get(terms.key)?.get(terms.backend);
    if (list === undefined) return undefined;
    const ports = terms.ports.join();
    let at = list.barren.get(ports) ?? 0;
    let found = list.addresses[at];
    while (found?.clash(service, terms, () => true) !== undefined) found = list.addresses[++at];
    list.barren.set(ports, at);
    return found;
  }

  /** An address whose sharers have the same key, to tell why it can't be joined: of the same backend, if there is one. */
  neighbour(terms: SharingTerms): SharedAddress | undefined {
    const backends = this.#byKey.get(terms.key);
    const same = backends?.get(terms.backend)?.addresses[0];
    if (same !== undefined || backends === undefined) return same;
    return [...backends.values()].flatMap(({ addresses: [first] }) => first ?? []).sort(comparePlaces)[0];
  }

  #listOf({ key, backend }: SharingTerms): Sharers {
    const backends = this.#byKey.get(key) ?? new Map<string, Sharers>();
    this.#byKey.set(key, backends);
    const list = backends.get(backend) ?? { addresses: [], barren: new Map<string, number>() };
    backends.set(backend, list);
    return list;
  }

  #drop({ key, backend }: SharingTerms): void {
    const backends = this.#byKey.get(key);
    backends?.delete(backend);
    if (backends?.size === 0) this.#byKey.delete(key);
  }
}

/** Order of places in a pool: ranges as in the spec, then addresses. */
export function comparePlaces(a: { readonly address: IpAddress; readonly index: number }, b: { readonly address: IpAddress; readonly index: number }): number {
  if (a.index !== b.index) return a.index - b.index;
  return a.address.value < b.address.value ? -1 : a.address.value > b.address.value ? 1 : 0;
}

/** From this place on, nothing is known to be barren any more. */
function lower({ barren }: Sharers, at: number): void {
  for (const [ports, count] of barren) if (count > at) barren.set(ports, at);
}

function lowerBound(sorted: readonly SharedAddress[], shared: SharedAddress): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const other = sorted[middle];
    if (other !== undefined && comparePlaces(other, shared) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
