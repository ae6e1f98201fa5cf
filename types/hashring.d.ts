/** The part of hashring 3 that we use; the package has no types of its own. */
declare module "hashring" {
  interface ServerOptions {
    /** Virtual nodes of the server, 4 points each. */
    readonly vnodes: number;
  }
  interface RingOptions {
    readonly "vnode count"?: number;
    readonly "max cache size"?: number;
  }
  class HashRing {
    constructor(servers: Readonly<Record<string, ServerOptions>>, algorithm?: string, options?: RingOptions);
    /** The first server at or after the key's point. */
    get(key: string): string | undefined;
    /** The first `size` different servers from the key's point on. */
    range(key: string, size: number): string[];
    /** Where the key lies: 32 bits. */
    hashValue(key: string): number;
    /** The points of these servers, ascending. */
    points(servers: readonly string[]): Readonly<Record<string, readonly number[]>>;
  }
  export = HashRing;
}
