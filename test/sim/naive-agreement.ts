/** The obvious way to elect, kept as a canary: beats with a name in them, and the first candidate that was heard lately owns. The checkers must find it out. */

import type { AgreementInput, AgreementOptions, AgreementOutput } from "../../speaker/agreement/agreement-protocol.ts";
import type { Instant, Random } from "../../speaker/machine.ts";
import type { AddressRow, InterfaceFact } from "../../speaker/packet-protocol.ts";
import type { AgreementMachine } from "./node.ts";

/** Who was not heard for so long is away. */
const SILENCE_MS = 800;

export class NaiveAgreement implements AgreementMachine {
  readonly #options: AgreementOptions;
  readonly #heard = new Map<string, Instant>();
  readonly #rows = new Map<string, AddressRow>();
  readonly #owned = new Set<string>();
  #peers: readonly { readonly node: string; readonly address: string }[] = [];
  #interfaces: readonly InterfaceFact[] = [];
  #next: Instant | undefined;
  #readyAt: Instant | undefined;
  readonly #returnersFirst: boolean;
  readonly #returnedAt = new Map<string, Instant>();

  /** @param returnersFirst whoever was away and is back comes before the others */
  constructor(options: AgreementOptions, random: Random, returnersFirst = false) {
    this.#options = options;
    this.#returnersFirst = returnersFirst;
    random.next();
  }

  nextTimeout(): Instant | undefined {
    return this.#next;
  }

  handle(input: AgreementInput, now: Instant): AgreementOutput[] {
    const outputs: AgreementOutput[] = [];
    this.#next ??= now;
    if (input.kind === "datagram") this.#hear(new TextDecoder().decode(input.bytes.subarray(2)), now);
    if (input.kind === "peers") this.#peers = input.peers;
    if (input.kind === "row") this.#rows.set(input.row.address, input.row);
    if (input.kind === "removeRow") this.#rows.delete(input.address);
    if (input.kind === "ready") this.#readyAt = now;
    if (input.kind === "interfaces") this.#interfaces = input.interfaces;
    if (input.kind === "stop") {
      for (const address of this.#owned) outputs.push({ kind: "lost", address, reason: "Stopping" });
      return [...outputs, { kind: "stopped" }];
    }
    if (input.kind !== "timeout" || now < this.#next) return outputs;
    this.#next = now + 100;
    const bytes = new Uint8Array([2, 0, ...new TextEncoder().encode(this.#options.node)]);
    for (const { address } of this.#peers) outputs.push({ kind: "datagram", to: { address, port: 7946 }, bytes });
    if (this.#readyAt !== undefined && now - this.#readyAt > 300) this.#elect(now, outputs);
    return outputs;
  }

  #hear(node: string, now: Instant): void {
    if (now - (this.#heard.get(node) ?? now) > SILENCE_MS) this.#returnedAt.set(node, now);
    this.#heard.set(node, now);
  }

  #elect(now: Instant, outputs: AgreementOutput[]): void {
    const isAlive = (node: string): boolean => node === this.#options.node || now - (this.#heard.get(node) ?? -1e9) < SILENCE_MS;
    const returnedAt = ({ node }: { readonly node: string }): Instant => (this.#returnersFirst ? (this.#returnedAt.get(node) ?? 0) : 0);
    for (const address of new Set([...this.#rows.keys(), ...this.#owned])) {
      const candidates = this.#rows.get(address)?.candidates ?? [];
      // Each address begins with another candidate.
      const turn = address.charCodeAt(address.length - 1) % Math.max(1, candidates.length);
      const first = [...candidates.slice(turn), ...candidates.slice(0, turn)].sort((a, b) => returnedAt(b) - returnedAt(a)).find(({ node }) => isAlive(node));
      const mine = first?.node === this.#options.node;
      if (mine && !this.#owned.has(address)) {
        this.#owned.add(address);
        outputs.push({ kind: "owned", address, reason: "OwnerDead", interfaces: this.#interfaces, taken: true });
      } else if (!mine && this.#owned.delete(address)) {
        outputs.push({ kind: "lost", address, reason: "BetterClaim" });
      }
    }
  }
}
