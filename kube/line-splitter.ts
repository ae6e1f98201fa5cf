/**
 * Cuts a stream of bytes into lines.
 */

/** The longest line of a watch: etcd takes objects of 1.5 MiB, JSON makes them a little longer. */
export const maxLineBytes = 8 * 1024 * 1024;

/** Keeps the bytes of an unfinished line, at most `maxLineBytes` of them. */
export class LineSplitter {
  #chunks: Buffer[] = [];
  #bytes = 0;

  /**
   * The lines that `chunk` completes, without their newlines; empty ones are left out. A character cut in two by a chunk's
   * border comes out whole.
   * @throws RangeError when a line is too long.
   */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      this.#keep(chunk.subarray(start, end));
      if (this.#bytes > 0) lines.push(Buffer.concat(this.#chunks, this.#bytes).toString("utf8"));
      this.#chunks = [];
      this.#bytes = 0;
      start = end + 1;
    }
    this.#keep(chunk.subarray(start));
    return lines;
  }

  #keep(bytes: Buffer): void {
    this.#bytes += bytes.length;
    if (this.#bytes > maxLineBytes) throw new RangeError(`a line is longer than ${maxLineBytes} bytes`);
    if (bytes.length > 0) this.#chunks.push(bytes);
  }
}
