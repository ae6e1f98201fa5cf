import type { MacAddress } from "../../wire/mac-address.ts";
import type { ResponderInput } from "./responder.ts";

/** What a responder is told besides frames. */
export type OwnershipInput = Exclude<ResponderInput, { readonly kind: "frame" }>;

/** What a responder of either family keeps: the usable interfaces with their MAC, and the owned addresses with the interfaces that each is announced on. */
export class OwnedAddresses {
  readonly #macs = new Map<number, MacAddress>();
  readonly #owned = new Map<string, ReadonlySet<number>>();

  take(input: OwnershipInput): void {
    switch (input.kind) {
      case "own":
        this.#owned.set(input.address, new Set(input.interfaceIndexes));
        return;
      case "disown":
        this.#owned.delete(input.address);
        return;
      case "interfaceUp":
        this.#macs.set(input.interfaceIndex, input.mac);
        return;
      case "interfaceDown":
        this.#macs.delete(input.interfaceIndex);
        return;
    }
  }

  /** MAC of an interface; undefined when it is not usable. */
  macOf(interfaceIndex: number): MacAddress | undefined {
    return this.#macs.get(interfaceIndex);
  }

  /** Interfaces that an address (canonical text) is announced on; undefined when it is not ours. */
  interfacesOf(address: string): ReadonlySet<number> | undefined {
    return this.#owned.get(address);
  }

  /** The owned addresses with their interfaces, for metrics and tests. */
  snapshot(): { readonly address: string; readonly interfaceIndexes: readonly number[] }[] {
    return [...this.#owned].map(([address, indexes]) => ({ address, interfaceIndexes: [...indexes] }));
  }
}
