/**
 * How old the reasons of the Services that wait are. A reason names others, or says that pools are full; when those change,
 * nobody tells the Service, so that it is looked at again some time later. Which change concerns which reason is not
 * kept: a look is cheap, and writes only where the words differ.
 */
export class ReasonBook {
  /** By Service, the allocator's revision at which its reason was true; the one that was longest not looked at first. */
  readonly #seen = new Map<string, number>();

  /** The reason was true at this revision, which is never lower than one noted before. */
  note(service: string, revision: number): void {
    this.#seen.delete(service);
    this.#seen.set(service, revision);
  }

  /** It waits no more. */
  forget(service: string): void {
    this.#seen.delete(service);
  }

  /** Services whose reason is of before this revision, so many at most. O(limit). */
  stale(revision: number, limit: number): string[] {
    const found: string[] = [];
    for (const [service, seen] of this.#seen) {
      if (seen >= revision || found.length >= limit) break;
      found.push(service);
    }
    return found;
  }
}
