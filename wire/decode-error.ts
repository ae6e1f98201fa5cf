/**
 * The one way in which bytes from a peer fail.
 */

/** Bytes that break a rule. `offset` counts bytes from the start of the outermost message; `clause` names the rule, like "RFC 826". */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
  readonly offset: number;
  readonly clause: string;

  constructor(message: string, options: { readonly offset: number; readonly clause: string }) {
    super(`${message} (at byte ${options.offset}, ${options.clause})`);
    this.offset = options.offset;
    this.clause = options.clause;
  }
}
