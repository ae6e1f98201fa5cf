/** Ranges of addresses that do not overlap, each with a note on where it was defined. */
import type { IpRange } from "../wire/ip-address.ts";

/**
 * Sorted list per family. As its members are disjoint, a new range can only overlap the last one that starts at or
 * before its end, so one binary search decides: adding n ranges takes n log n comparisons.
 */
export class RangeSet<Note> {
  readonly #sorted: Record<IpRange["family"], { readonly range: IpRange; readonly note: Note }[]> = { IPv4: [], IPv6: [] };
  /** Comparisons of addresses made so far; bounds the work in tests. */
  comparisons = 0;

  /**
   * Adds the range, unless it overlaps: then nothing changes, and the note of a member that it overlaps is returned
   * (of several, that with the highest addresses).
   */
  add(range: IpRange, note: Note): { readonly overlapped: Note } | undefined {
    const list = this.#sorted[range.family];
    let low = 0;
    let high = list.length;
    // Finds the number of members that start at or before the end of the range.
    while (low < high) {
      const middle = (low + high) >>> 1;
      const member = list[middle];
      this.comparisons++;
      if (member !== undefined && member.range.first <= range.last) low = middle + 1;
      else high = middle;
    }
    const candidate = list[low - 1];
    this.comparisons++;
    if (candidate !== undefined && candidate.range.last >= range.first) return { overlapped: candidate.note };
    list.splice(low, 0, { range, note });
    return undefined;
  }
}
