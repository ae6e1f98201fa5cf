import type { Server, Socket } from "node:net";

/**
 * Keeps at most so many connections of a server open: a new one costs the oldest its place. To refuse the new one instead
 * would let whoever holds that many open, and says nothing, keep out the kubelet's probe or the API server's call.
 */
export class NewestConnections {
  readonly #open = new Set<Socket>();

  constructor(server: Server, most: number) {
    server.on("connection", (socket: Socket) => {
      this.#open.add(socket);
      socket.once("close", () => this.#open.delete(socket));
      if (this.#open.size <= most) return;
      for (const oldest of this.#open) {
        oldest.destroy();
        this.#open.delete(oldest);
        break;
      }
    });
  }

  /** Closes all of them. */
  destroy(): void {
    for (const socket of this.#open) socket.destroy();
  }
}
