import { join } from "node:path";
import type { Lab } from "../../test/lab/lab.ts";
import { ClientProgram } from "../../test/lab/client-program.ts";
import type { Scene } from "./scene.ts";

/** What `connections-program.ts` prints. */
export type ConnectionEvent = readonly ["open", number] | readonly ["closed", number, string];

/** So many connections as the benches hold open. */
export const CONNECTIONS = 50;

/** TCP connections of the client that stay open and are used. */
export class Connections {
  readonly #program: ClientProgram<ConnectionEvent>;

  private constructor(program: ClientProgram<ConnectionEvent>) {
    this.#program = program;
  }

  /** Opens them; returns when all stand. */
  static async open({ lab, address, tcpPort }: Pick<Scene, "address" | "tcpPort"> & { readonly lab: Lab }): Promise<Connections> {
    return new Connections(await ClientProgram.start(lab, join(import.meta.dirname, "connections-program.ts"), [address, String(tcpPort), String(CONNECTIONS)]));
  }

  /** Ends, and tells how many were closed before that. */
  async stop(): Promise<number> {
    return (await this.#program.stop()).filter(([kind]) => kind === "closed").length;
  }
}
