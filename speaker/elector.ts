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
 */
export class MetallbElector implements Elector {
  readonly #agreement: Agreement;
  readonly #ownership: Ownership;
  readonly #node: string;

  constructor(node: string, agreement: Agreement, order: ElectionOrder) {
    this.#node = node;
    this.#agreement = agreement;
    this.#ownership = new Ownership({ node, order });
    this.#ownership.handle({ kind: "usable", nodes: new Set([node]) }, 0);
  }

  handle(input: AgreementInput, now: Instant): AgreementOutput[] {
    if (input.kind === "row" || input.kind === "removeRow") return this.#ownership.handle(input, now);
    const outputs: AgreementOutput[] = [];
    if (input.kind === "interfaces") outputs.push(...this.#ownership.handle(input, now));
    // Its goodbye comes before the release: others take over while this node still answers.
    const agreed = this.#agreement.handle(input, now);
    const hasMembersChanged = agreed.some(({ kind }) => kind === "member");
    if (hasMembersChanged) outputs.push(...this.#ownership.handle({ kind: "usable", nodes: new Set([this.#node, ...this.#agreement.usableMembers()]) }, now));
    if (agreed.some(({ kind }) => kind === "stopped")) outputs.push(...this.#ownership.handle({ kind: "release" }, now));
    return [...outputs, ...agreed];
  }

  nextTimeout(): Instant | undefined {
    return this.#agreement.nextTimeout();
  }
}

function isOwnershipInput(input: AgreementInput): input is Extract<AgreementInput, OwnershipInput> {
  return input.kind === "row" || input.kind === "removeRow" || input.kind === "interfaces";
}
