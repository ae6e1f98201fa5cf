/**
 * The one way in which the operating system fails.
 */

/** A call that the OS refused. `code` is errno's name ("EPERM"), or "E<number>" when it has none; `syscall` is the call's name. */
export class SysError extends Error {
  override readonly name = "SysError";
  readonly code: string;
  readonly syscall: string;

  constructor(options: { readonly code: string; readonly syscall: string; readonly detail?: string }) {
    super(`${options.syscall}: ${options.code}${options.detail === undefined ? "" : ` (${options.detail})`}`);
    this.code = options.code;
    this.syscall = options.syscall;
  }
}
