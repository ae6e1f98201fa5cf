/**
 * What this node's ConfigurationState tells of its default gateways, which only the node itself knows. The tables of
 * routes are looked at again and again, and a word is said only when something changed: a gateway that comes counts at
 * once, one that goes counts for a while longer, so that one that flaps, or two that take turns, are said once.
 */
import { formatDefaultGateways, MAX_DEFAULT_GATEWAYS } from "../../config/default-gateways.ts";
import type { Clock, Timer } from "../../sys/clock.ts";
import type { Logger } from "../../sys/log.ts";
import type { DefaultGateway } from "../../sys/routes.ts";
import { SysError } from "../../sys/sys-error.ts";
import { type IpFamily, parseIpAddress } from "../../wire/ip-address.ts";
import { isLinkLocal } from "../../wire/ipv6-multicast.ts";

/** Between two looks (milliseconds). The table of IPv6 may be long, and nobody waits for a warning. */
export const LOOK_INTERVAL_MS = 5_000;
/** A gateway counts for so long after it was seen last (milliseconds). */
export const KEEP_MS = 30_000;
/** Between two changes that are told, whatever the routes do (milliseconds). */
export const TELL_INTERVAL_MS = 30_000;

const FAMILIES: readonly IpFamily[] = ["IPv4", "IPv6"];
/** Of each family the best ones are told. */
const MAX_PER_FAMILY = MAX_DEFAULT_GATEWAYS / FAMILIES.length;

export interface DefaultGatewaysOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** The default gateways, the best first. @throws SysError */
  readonly read: (family: IpFamily) => readonly DefaultGateway[];
  /** Called with the annotation's text when it is to be another one. */
  readonly onChange: (text: string) => void;
}

export class DefaultGateways {
  readonly #options: DefaultGatewaysOptions;
  /** When each was seen last, by its text; those seen last at the end. At most MAX_DEFAULT_GATEWAYS. */
  readonly #seenAt = new Map<string, number>();
  #told: { readonly text: string; readonly at: number } | undefined;
  #failed = false;
  #timer: Timer | undefined;

  constructor(options: DefaultGatewaysOptions) {
    this.#options = options;
  }

  /** Looks now, and from now on. Call once. */
  start(): void {
    this.#look();
    this.#timer = this.#options.clock.after(LOOK_INTERVAL_MS, () => this.start());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #look(): void {
    const { clock, log, onChange } = this.#options;
    const now = clock.now();
    const found = this.#read();
    if (found === undefined) return;
    for (const text of found) {
      this.#seenAt.delete(text);
      this.#seenAt.set(text, now);
    }
    for (const [text, at] of this.#seenAt) if (now - at >= KEEP_MS || this.#seenAt.size > MAX_DEFAULT_GATEWAYS) this.#seenAt.delete(text);
    const text = formatDefaultGateways([...this.#seenAt.keys()].map(parseIpAddress));
    if (text === this.#told?.text || (this.#told !== undefined && now - this.#told.at < TELL_INTERVAL_MS)) return;
    this.#told = { text, at: now };
    log.info("defaultGateways", { addresses: text });
    onChange(text);
  }

  /** The gateways that could be in a pool; undefined when that can't be known now. */
  #read(): string[] | undefined {
    try {
      const found = FAMILIES.flatMap((family) => this.#options.read(family).slice(0, MAX_PER_FAMILY));
      this.#failed = false;
      // Those of IPv6 mostly are link-local, and what is no more than that is never a Service's address.
      return found.map(({ address }) => address).filter((address) => !isLinkLocal(parseIpAddress(address)));
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      // What was known is the best there is. One warning, until it works again.
      if (!this.#failed) this.#options.log.warn("gatewaysUnreadable", { reason: error });
      this.#failed = true;
      return undefined;
    }
  }
}
