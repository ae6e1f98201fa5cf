/**
 * The in-memory twin of `interface-addresses.ts`: tests say what the addresses are.
 */

import type { InterfaceAddress, InterfaceAddresses } from "./interface-addresses.ts";
import { SysError } from "./sys-error.ts";

export class FakeInterfaceAddresses implements InterfaceAddresses {
  /** Calls of `list` so far. */
  lists = 0;
  /** The interfaces asked for last. */
  watched: readonly number[] | undefined;
  #addresses: readonly InterfaceAddress[];
  #open = true;

  constructor(addresses: readonly InterfaceAddress[]) {
    this.#addresses = addresses;
  }

  /** What the addresses are from now on. */
  set(addresses: readonly InterfaceAddress[]): void {
    this.#addresses = addresses;
  }

  /** Tells of the others too, as the real one may. */
  watch(interfaceIndexes: readonly number[]): void {
    this.watched = interfaceIndexes;
  }

  list(): readonly InterfaceAddress[] {
    this.lists += 1;
    if (!this.#open) throw new SysError({ code: "EBADF", syscall: "recv" });
    return this.#addresses;
  }

  close(): void {
    this.#open = false;
  }
}
