/**
 * Who decides which addresses this node announces. All ways of deciding take and give the same as the agreement, so that
 * the driver does not know which one it has: the agreement itself, or one of these two without claims.
 */

import type { Agreement } from "./agreement/agreement.ts";
import type { AgreementInput, AgreementOutput } from "./agreement/agreement-protocol.ts";
import type { Instant, Machine } from "./machine.ts";
import { Ownership } from "./ownership.ts";
import type { ElectionOrder, OwnershipInput } from "./ownership.ts";

export type Elector = Machine<AgreementInput, AgreementOutput>;

/** How long MetalLB's election waits, after the first table, for members that should be there. */
export const SETTLE_WITHIN_MS = 3_000;

/** Without membership: every candidate is taken to be alive, and the first in rank announces. */
export class StandaloneElector implements Elector {
  readonly #ownership: Ownership;

  constructor(node: string) {
    this.#ownership = new Ownership({ node });
  }

  handle(input: AgreementInput, now: Instant): AgreementOutput[] {
    if (input.kind === "stop") return [...this.#ownership.handle({ kind: "release" }, now), { kind: "stopped" }];
    return isOwnershipInput(input) ? this.#ownership.handle(input, now) : [];
  }

  nextTimeout(): undefined {
    return undefined;
  }
}

/**
 * MetalLB's own election: the first by its hash among the candidates whose speakers are members, alive or suspect. No
 * claims: the agreement is given no rows, and serves as membership and detection alone.
 *
 * A newcomer that knows only itself would be first for everything. It takes nothing until the peers that the API lists are
 * members, or SETTLE_WITHIN_MS passed.
 */
export class MetallbElector implements Elector {
  readonly #agreement: Pick<Agreement, "handle" | "nextTimeout" | "usableMembers">;
  readonly #ownership: Ownership;
  readonly #node: string;
  #expected: readonly string[] | undefined;
  #settleBy: Instant | undefined;
  #isSettled = false;

  constructor(node: string, agreement: Pick<Agreement, "handle" | "nextTimeout" | "usableMembers">, order: ElectionOrder) {
    this.#node = node;
    this.#agreement = agreement;
    this.#ownership = new Ownership({ node, order });
    this.#ownership.handle({ kind: "usable", nodes: new Set() }, 0);
  }

  handle(input: AgreementInput, now: Instant): AgreementOutput[] {
    if (input.kind === "row" || input.kind === "removeRow") return this.#ownership.handle(input, now);
    const outputs: AgreementOutput[] = [];
    if (input.kind === "peers") this.#expected = input.peers.map(({ node }) => node);
    if (input.kind === "ready" && !this.#isSettled) this.#settleBy ??= now + SETTLE_WITHIN_MS;
    if (input.kind === "interfaces") outputs.push(...this.#ownership.handle(input, now));
    // Its goodbye comes before the release: others take over while this node still answers.
    const agreed = this.#agreement.handle(input, now);
    const settlesNow = !this.#isSettled && this.#hasAll(now);
    if (settlesNow || (this.#isSettled && agreed.some(({ kind }) => kind === "member"))) {
      this.#isSettled = true;
      outputs.push(...this.#ownership.handle({ kind: "usable", nodes: new Set([this.#node, ...this.#agreement.usableMembers()]) }, now));
    }
    if (agreed.some(({ kind }) => kind === "stopped")) outputs.push(...this.#ownership.handle({ kind: "release" }, now));
    return [...outputs, ...agreed];
  }

  nextTimeout(): Instant | undefined {
    const agreed = this.#agreement.nextTimeout();
    if (this.#isSettled || this.#settleBy === undefined) return agreed;
    return agreed === undefined ? this.#settleBy : Math.min(agreed, this.#settleBy);
  }

  /** All peers that should be there are, or it has waited for long enough. */
  #hasAll(now: Instant): boolean {
    if (this.#settleBy !== undefined && now >= this.#settleBy) return true;
    const members = new Set(this.#agreement.usableMembers());
    return this.#expected?.every((node) => members.has(node)) ?? false;
  }
}

function isOwnershipInput(input: AgreementInput): input is Extract<AgreementInput, OwnershipInput> {
  return input.kind === "row" || input.kind === "removeRow" || input.kind === "interfaces";
}
