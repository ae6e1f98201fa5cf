/**
 * Stand-ins for tests of the driver: an elector that follows a script, and sockets of the membership that a test fills.
 */

import type { AgreementInput, AgreementOutput } from "./agreement/agreement-protocol.ts";
import type { AgreementDoor } from "./driver-ports.ts";
import type { Elector } from "./elector.ts";

/** An elector that says what the test tells it to. */
export class ScriptedElector implements Elector {
  /** What comes of the next input of a kind; once. */
  readonly script = new Map<AgreementInput["kind"], readonly AgreementOutput[]>();
  readonly inputs: AgreementInput[] = [];
  deadline: number | undefined;
  readonly #heard: (kind: AgreementInput["kind"]) => void;

  /** @param heard told of each input, in order. */
  constructor(heard: (kind: AgreementInput["kind"]) => void) {
    this.#heard = heard;
  }

  handle(input: AgreementInput): AgreementOutput[] {
    this.inputs.push(input);
    this.#heard(input.kind);
    if (input.kind === "timeout") this.deadline = undefined;
    const outputs = this.script.get(input.kind) ?? [];
    this.script.delete(input.kind);
    return [...outputs];
  }

  nextTimeout(): number | undefined {
    return this.deadline;
  }
}

/** The membership's sockets: what waits in them, and what they were told to do. */
export class FakeAgreementDoor implements AgreementDoor {
  readonly waiting: AgreementInput[] = [];
  readonly performed: string[] = [];
  /** What comes at once of an output. */
  readonly replies = new Map<string, readonly AgreementInput[]>();
  /** What each portion of drained datagrams costs. */
  costMs = 0;
  /** A datagram that comes again and again, without end. */
  flood: AgreementInput | undefined;
  isOpen = true;
  readonly #fd: number;
  readonly #spend: (ms: number) => void;

  constructor(options: { readonly fd: number; readonly spend: (ms: number) => void }) {
    this.#fd = options.fd;
    this.#spend = options.spend;
  }

  owns(fd: number): boolean {
    return fd === this.#fd;
  }

  ready(): AgreementInput[] {
    if (!this.isOpen) throw new Error("closed");
    return this.waiting.splice(0);
  }

  drain(): AgreementInput[] {
    this.#spend(this.costMs);
    return this.flood === undefined ? this.ready() : [this.flood];
  }

  perform(output: { readonly kind: string }): AgreementInput[] {
    if (!this.isOpen) throw new Error("closed");
    this.performed.push(output.kind);
    return [...(this.replies.get(output.kind) ?? [])];
  }

  timeout(): void {
    throw new Error("nothing is due");
  }

  nextTimeout(): undefined {
    return undefined;
  }

  close(): void {
    this.isOpen = false;
  }
}
