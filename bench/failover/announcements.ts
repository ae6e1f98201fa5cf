/** An address that a MAC announced unasked (gratuitous ARP), as a capture on the client saw it. */
export interface Announcement {
  /** Unix ms. */
  readonly atMs: number;
  readonly mac: string;
  readonly address: string;
}

/** Picks the announcements out of tcpdump's lines (`-e -n -tt`). */
export function announcementsIn(lines: readonly string[]): Announcement[] {
  return lines.flatMap((line) => {
    const [, seconds = "", mac = "", rest = ""] = /^(\S+) (\S+) > (.*)$/.exec(line) ?? [];
    const [, asked, asker] = /Request who-has (\S+)(?: \(\S+\))? tell ([^,\s]+)/.exec(rest) ?? [];
    return asked === undefined || asked !== asker ? [] : [{ atMs: Number(seconds) * 1000, mac, address: asked }];
  });
}

/** How often an address went from one MAC to another. */
export function movesIn(announcements: readonly Announcement[]): number {
  const holder = new Map<string, string>();
  let moves = 0;
  for (const { address, mac } of announcements) {
    const before = holder.get(address);
    if (before !== undefined && before !== mac) moves += 1;
    holder.set(address, mac);
  }
  return moves;
}
