/**
 * Questions by ARP and NDP as the driver sees them: keeps `layer2/neighbour-questions.ts` told of this host's interfaces, their
 * addresses and the default gateway.
 */

import type { InterfaceAddresses } from "../sys/interface-addresses.ts";
import type { DefaultGateway } from "../sys/routes.ts";
import type { IpFamily } from "../wire/ip-address.ts";
import { parseMacAddress } from "../wire/mac-address.ts";
import type { AgreementOutput } from "./agreement/agreement-protocol.ts";
import { NeighbourQuestions } from "./layer2/neighbour-questions.ts";
import type { NeighbourFact, QuestionFrame } from "./layer2/neighbour-questions.ts";
import type { Instant } from "./machine.ts";
import { NetworkFailures } from "./network-failures.ts";
import type { NetworkFailuresPorts } from "./network-failures.ts";
import type { InterfaceFact } from "./packet-protocol.ts";

export interface NeighboursPorts extends NetworkFailuresPorts {
  readonly addresses: InterfaceAddresses;
  /** The family that the speakers reach each other by: its gateway is asked. */
  readonly family: IpFamily;
  /** The default gateways, the best first. @throws SysError */
  defaultGateways(family: IpFamily): readonly DefaultGateway[];
}

/** Addresses are looked at again so often, if anything happens at all. */
export const REFRESH_INTERVAL_MS = 100;
/** The table of routes is looked at again so often. */
export const GATEWAY_REFRESH_INTERVAL_MS = 1_000;

export class Neighbours {
  readonly #ports: NeighboursPorts;
  readonly #failures: NetworkFailures;
  readonly #questions = new NeighbourQuestions();
  #gateways: readonly DefaultGateway[] = [];
  #usable: readonly InterfaceFact[] = [];
  #refreshAt: Instant = -Infinity;
  #refreshGatewayAt: Instant = -Infinity;

  constructor(ports: NeighboursPorts) {
    this.#ports = ports;
    this.#failures = new NetworkFailures(ports);
  }

  /** The interfaces as they are now; replaces those before. The usable ones carry questions. */
  interfaces(facts: readonly InterfaceFact[], now: Instant): void {
    this.#usable = facts.filter(({ usable }) => usable);
    this.#refreshAt = -Infinity;
    this.#refreshGatewayAt = -Infinity;
    this.#refresh(now);
  }

  /** The interface that has this address; undefined when none has. */
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
    return this.#questions.timeout(now);
  }

  /** At the latest when routes are to be looked at again: a gateway may come at any time. */
  nextTimeout(): Instant {
    return Math.min(this.#refreshGatewayAt, this.#questions.nextTimeout() ?? Infinity);
  }

  close(): void {
    this.#ports.addresses.close();
  }

  #refresh(now: Instant): void {
    const isGatewayDue = now >= this.#refreshGatewayAt;
    if (now < this.#refreshAt && !isGatewayDue) return;
    this.#refreshAt = now + REFRESH_INTERVAL_MS;
    const indexes = new Set(this.#usable.map(({ index }) => index));
    const known = this.#ports.addresses.list().filter(({ interfaceIndex }) => indexes.has(interfaceIndex));
    const byIndex = Map.groupBy(known, ({ interfaceIndex }) => interfaceIndex);
    this.#questions.setSegments(this.#usable.map(({ index, mac }) => ({ interfaceIndex: index, mac: parseMacAddress(mac), addresses: byIndex.get(index) ?? [] })));
    if (!isGatewayDue) return;
    this.#refreshGatewayAt = now + GATEWAY_REFRESH_INTERVAL_MS;
    try {
      this.#gateways = this.#ports.defaultGateways(this.#ports.family);
    } catch (error) {
      // Without a descriptor to read the table with, what was read last is the best there is.
      this.#failures.record(error, "gatewayRead");
    }
    this.#questions.setGateway(this.#findGateway());
  }

  #findGateway(): { readonly interfaceIndex: number; readonly address: string } | undefined {
    for (const { address, interfaceName } of this.#gateways) {
      const fact = this.#usable.find(({ name }) => name === interfaceName);
      if (fact !== undefined) return { interfaceIndex: fact.index, address };
    }
    return undefined;
  }
}
