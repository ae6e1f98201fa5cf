/**
 * What this node announces, as the packet thread reports it: which addresses, since when, where. From it follow, per
 * Service, the status, the events and the metric.
 */
import type { FromPacketThread, InterfaceFact, OwnReason } from "./packet-protocol.ts";
import type { AddressTable } from "./table.ts";

/** An address that this node answers for. */
export interface OwnedAddress {
  readonly sinceUnixMs: number;
  /** Why it came to this node, at that time. */
  readonly reason: OwnReason;
  readonly interfaces: readonly InterfaceFact[];
}

/** One line of the `metallb_speaker_announced` metric. */
export interface AnnouncedService {
  /** "namespace/name". */
  readonly service: string;
  readonly ip: string;
}

export interface AnnouncedServicesOptions {
  readonly table: AddressTable;
  /** A Service became announced from here, or stopped being so. */
  readonly onGained: (key: string) => void;
  readonly onLost: (key: string) => void;
  /** No usable interface for an address that this node should announce. */
  readonly onBlocked: (key: string, wanted: readonly string[] | "all") => void;
  /** Something about a Service's announcement may have changed. */
  readonly onTouched: (key: string) => void;
}

/** See the head of the file. A Service counts as announced from here when the first of its addresses is. */
export class AnnouncedServices {
  readonly #options: AnnouncedServicesOptions;
  readonly #owned = new Map<string, OwnedAddress>();
  readonly #services = new Set<string>();

  constructor(options: AnnouncedServicesOptions) {
    this.#options = options;
  }

  /** Takes the packet thread's word about an address. */
  take(fact: Extract<FromPacketThread, { kind: "owned" | "lost" | "blocked" }>): void {
    const keys = this.#options.table.servicesOf(fact.address);
    switch (fact.kind) {
      case "owned": {
        const before = this.#owned.get(fact.address);
        // Never lost in between: only its interfaces changed, and why it came here did not.
        this.#owned.set(fact.address, { sinceUnixMs: fact.sinceUnixMs, reason: before?.reason ?? fact.reason, interfaces: fact.interfaces });
        break;
      }
      case "lost":
        this.#owned.delete(fact.address);
        break;
      case "blocked":
        this.#owned.delete(fact.address);
        for (const key of keys) if (this.#firstAddress(key) === fact.address) this.#options.onBlocked(key, fact.wanted);
        break;
    }
    this.review(keys);
  }

  /** Looks again at Services whose rows may have changed. */
  review(keys: readonly string[]): void {
    for (const key of keys) {
      const announced = this.ofService(key) !== undefined;
      if (announced && !this.#services.has(key)) {
        this.#services.add(key);
        this.#options.onGained(key);
      } else if (!announced && this.#services.delete(key)) this.#options.onLost(key);
      this.#options.onTouched(key);
    }
  }

  /** How this node announces a Service; undefined when it does not. */
  ofService(key: string): OwnedAddress | undefined {
    const first = this.#firstAddress(key);
    return first === undefined ? undefined : this.#owned.get(first);
  }

  /** The address that speaks for a Service: they move together. */
  #firstAddress(key: string): string | undefined {
    return this.#options.table.addressesOf(key)[0];
  }

  /** Every address announced from here, once per Service that holds it. */
  announced(): AnnouncedService[] {
    return [...this.#owned.keys()].flatMap((ip) => this.#options.table.servicesOf(ip).map((service) => ({ service, ip })));
  }
}
