/**
 * Questions by ARP and NDP as the driver sees them: keeps `layer2/neighbour-questions.ts` told of this host's interfaces, their
 * addresses and the default gateway.
 */

import type { GatewayMonitor } from "../sys/gateway-monitor.ts";
import type { InterfaceAddress, InterfaceAddresses } from "../sys/interface-addresses.ts";
import { parseMacAddress } from "../wire/mac-address.ts";
import type { AgreementOutput } from "./agreement/agreement-protocol.ts";
import { sameInterfaceFacts } from "./layer2/interface-fact.ts";
import { NeighbourQuestions } from "./layer2/neighbour-questions.ts";
import type { NeighbourFact, QuestionFrame } from "./layer2/neighbour-questions.ts";
import type { Instant } from "./machine.ts";
import { NetworkFailures } from "./network-failures.ts";
import type { NetworkFailuresPorts } from "./network-failures.ts";
import type { InterfaceFact } from "./packet-protocol.ts";

export interface NeighboursPorts extends NetworkFailuresPorts {
  readonly addresses: InterfaceAddresses;
  /** Those of the family that the speakers reach each other by. */
  readonly gateways: GatewayMonitor;
}

/** Addresses are looked at again so often, if anything happens at all. */
export const REFRESH_INTERVAL_MS = 100;
/** News of gateways are taken in so often, and all of them asked for no more often while that is needed. */
export const GATEWAY_REFRESH_INTERVAL_MS = 1_000;
/** All of them are asked for so often in any case: the kernel does not tell of every change. */
export const GATEWAY_RECHECK_INTERVAL_MS = 10_000;

export class Neighbours {
  readonly #ports: NeighboursPorts;
  readonly #failures: NetworkFailures;
  readonly #questions = new NeighbourQuestions();
  #usable: readonly InterfaceFact[] = [];
  /** The addresses as the questions have them; undefined when they are to get them in any case. */
  #addresses: readonly InterfaceAddress[] | undefined;
  #refreshAt: Instant = -Infinity;
  #lookAtGatewaysAt: Instant = -Infinity;
  /** When to ask for all of them. */
  #askForGatewaysAt: Instant = -Infinity;
  #gatewaysAskedAt: Instant = -Infinity;

  constructor(ports: NeighboursPorts) {
    this.#ports = ports;
    this.#failures = new NetworkFailures(ports);
  }

  /** The interfaces as they are now; replaces those before. The usable ones carry questions. */
  interfaces(facts: readonly InterfaceFact[], now: Instant): void {
    const usable = facts.filter((fact) => fact.usable);
    // Of the interfaces of pods that come and go all the time, most are excluded.
    if (this.#addresses !== undefined && sameInterfaceFacts(usable, this.#usable)) return;
    this.#usable = usable;
    this.#ports.addresses.watch(usable.map(({ index }) => index));
    this.#addresses = undefined;
    this.#refreshAt = -Infinity;
    // Routes may have gone with an interface, and the kernel need not tell.
    this.#askForGatewaysAt = Math.min(this.#askForGatewaysAt, now + GATEWAY_REFRESH_INTERVAL_MS);
    this.#refresh(now);
    this.#lookAtGateways(now);
  }

  /** The interface that has this address; undefined when none that carries questions has. */
  interfaceOf(address: string): number | undefined {
    return this.#ports.addresses.list().find((known) => known.address === address)?.interfaceIndex;
  }

  /** Looks at a frame before the responder does. */
  frame(interfaceIndex: number, bytes: Uint8Array, now: Instant): NeighbourFact[] {
    this.#refresh(now);
    return this.#questions.frame(interfaceIndex, bytes, now);
  }

  /** The frames that an output asks for; none if it asks by nothing that a frame here can. */
  perform(output: Extract<AgreementOutput, { kind: "ask" | "askSegment" }>, now: Instant): QuestionFrame[] {
    this.#refresh(now);
    if (output.kind === "askSegment") return this.#questions.askSegment(output.interfaceIndex, output.addresses, now);
    return output.questions.includes("arp") ? this.#questions.ask(output.address, now) : [];
  }

  timeout(now: Instant): { readonly frames: readonly QuestionFrame[]; readonly inputs: readonly NeighbourFact[] } {
    this.#refresh(now);
    if (now >= this.#lookAtGatewaysAt) this.#lookAtGateways(now);
    return this.#questions.timeout(now);
  }

  /** At the latest when gateways are to be looked at again: one may come at any time. */
  nextTimeout(): Instant {
    return Math.min(this.#lookAtGatewaysAt, this.#questions.nextTimeout() ?? Infinity);
  }

  close(): void {
    this.#ports.addresses.close();
    this.#ports.gateways.close();
  }

  #refresh(now: Instant): void {
    if (now < this.#refreshAt) return;
    this.#refreshAt = now + REFRESH_INTERVAL_MS;
    const addresses = this.#ports.addresses.list();
    if (addresses === this.#addresses) return;
    this.#addresses = addresses;
    const byIndex = Map.groupBy(addresses, ({ interfaceIndex }) => interfaceIndex);
    this.#questions.setSegments(this.#usable.map(({ index, mac }) => ({ interfaceIndex: index, mac: parseMacAddress(mac), addresses: byIndex.get(index) ?? [] })));
  }

  /** One update: what it leaves waits for the next turn, behind the packets. */
  #lookAtGateways(now: Instant): void {
    this.#lookAtGatewaysAt = now + GATEWAY_REFRESH_INTERVAL_MS;
    const { gateways } = this.#ports;
    try {
      let hasMore = gateways.update();
      if (gateways.isInDoubt) this.#askForGatewaysAt = Math.min(this.#askForGatewaysAt, this.#gatewaysAskedAt + GATEWAY_REFRESH_INTERVAL_MS);
      if (!hasMore && now >= this.#askForGatewaysAt) {
        this.#gatewaysAskedAt = now;
        this.#askForGatewaysAt = now + GATEWAY_RECHECK_INTERVAL_MS;
        gateways.refresh();
        hasMore = true;
      }
      if (hasMore) this.#lookAtGatewaysAt = now;
    } catch (error) {
      // Without a descriptor, say, what was known last is the best there is.
      this.#failures.record(error, "gatewayRead");
    }
    this.#questions.setGateway(this.#findGateway());
  }

  #findGateway(): { readonly interfaceIndex: number; readonly address: string } | undefined {
    for (const { address, via } of this.#ports.gateways.gateways()) {
      const fact = this.#usable.find(({ index, name }) => via === index || via === name);
      if (fact !== undefined) return { interfaceIndex: fact.index, address };
    }
    return undefined;
  }
}
