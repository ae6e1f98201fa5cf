/**
 * Bounded concurrency with two lanes. What is in the slow lane (events) keeps out of the way of the other: while that is
 * busy, one piece of it starts after every so many of the other's, so that it is late but never starves.
 */

export type Lane = "normal" | "background";

/** Pieces of the slow lane at once, when the other lane is quiet. */
export const MAX_BACKGROUND = 8;
/** The normal lane is busy when more than this many of its pieces run or wait. */
export const BUSY_ABOVE = 4;
/** While the normal lane is busy, so many of its pieces start before one of the slow lane does, which then runs alone. */
export const NORMAL_PER_BACKGROUND = 50;

/** Lets at most `limit` pieces of work run at once. */
export class RequestLimiter {
  readonly #limit: number;
  readonly #waiting: Readonly<Record<Lane, (() => void)[]>> = { normal: [], background: [] };
  readonly #running: Record<Lane, number> = { normal: 0, background: 0 };
  /** Pieces of the normal lane started since the slow lane's last one. */
  #sinceBackground = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Runs `work` when its turn has come. Rejects as `work` does. */
  async run<T>(lane: Lane, work: () => Promise<T>): Promise<T> {
    if (this.#waiting[lane].length === 0 && this.#hasRoom(lane)) this.#count(lane);
    else {
      await new Promise<void>((resolve) => {
        this.#waiting[lane].push(resolve);
      });
    }
    try {
      return await work();
    } finally {
      this.#running[lane] -= 1;
      this.#startWaiting("normal");
      this.#startWaiting("background");
    }
  }

  #hasRoom(lane: Lane): boolean {
    const { normal, background } = this.#running;
    if (normal + background >= this.#limit) return false;
    if (lane === "normal") return true;
    const isBusy = normal + this.#waiting.normal.length > BUSY_ABOVE;
    return isBusy ? background === 0 && this.#sinceBackground >= NORMAL_PER_BACKGROUND : background < MAX_BACKGROUND;
  }

  #count(lane: Lane): void {
    this.#running[lane] += 1;
    this.#sinceBackground = lane === "normal" ? this.#sinceBackground + 1 : 0;
  }

  #startWaiting(lane: Lane): void {
    while (this.#hasRoom(lane)) {
      const start = this.#waiting[lane].shift();
      if (start === undefined) return;
      this.#count(lane);
      start();
    }
  }
}
