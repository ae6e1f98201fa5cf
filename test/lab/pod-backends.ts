import { type ChildProcess, execFile, spawn } from "node:child_process";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import type { BackendEndpoint, BackendOrder } from "./backend-server.ts";
import { type Host, POD_PREFIX_LENGTH, namespaceOf } from "./hosts.ts";
import type { ProcessTable } from "./processes.ts";
import { nsenterArgv } from "./processes.ts";
import { NODE } from "./programs.ts";
import { podsHost } from "./topology.ts";

const run = promisify(execFile);

/** Pods are numbered from 2 (1 is the gateway) to 253 (254 is the pods' side itself). */
const FIRST_POD = 2;
const LAST_POD = 253;

/** How long a pod may take to listen before it is called Ready all the same. */
const LISTEN_BUDGET_MS = 5000;

/** An ordinary pod on a node. */
interface Placed {
  readonly number: number;
  readonly pod: string;
  readonly ports: readonly { readonly port: number; readonly protocol: "TCP" | "UDP" }[];
}

/** The ordinary pods of one node: their addresses, and the one server that answers on all of them. */
export class PodBackends {
  readonly #lab: string;
  readonly #host: Host;
  readonly #processes: ProcessTable;
  readonly #placed = new Map<string, Placed>();
  readonly #waiting = new Map<number, () => void>();
  #server: ChildProcess | undefined;
  #sequence = 0;
  #last: Promise<void> = Promise.resolve();
  #powered = true;

  constructor(lab: string, host: Host, processes: ProcessTable) {
    this.#lab = lab;
    this.#host = host;
    this.#processes = processes;
  }

  /** Addresses of a pod, IPv4 first; empty before `serve`. */
  addressesOf(uid: string): string[] {
    const placed = this.#placed.get(uid);
    return placed ? this.#addresses(placed.number) : [];
  }

  /**
   * Gives the pod its addresses and answers on them; returns when it does.
   * @param pod name to answer with. `preferred` is the IPv4 address that the API already shows.
   * @throws Error when the node has no address left.
   */
  serve(uid: string, pod: string, ports: Placed["ports"], preferred?: string): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#placed.has(uid)) return;
      const number = this.#freeNumber(preferred);
      await this.#addAddresses([number]);
      this.#placed.set(uid, { number, pod, ports });
      await this.#order();
    });
  }

  /** Ends answering for a pod and takes its addresses away. */
  release(uid: string): Promise<void> {
    return this.#inTurn(async () => {
      const placed = this.#placed.get(uid);
      if (!placed) return;
      this.#placed.delete(uid);
      await this.#order();
      await this.#ip(this.#addressLines("del", placed.number)).catch(() => undefined);
    });
  }

  /** The node lost its power: whoever cut it has killed the server already. */
  powerOff(): void {
    this.#powered = false;
    this.#server = undefined;
  }

  powerOn(): Promise<void> {
    this.#powered = true;
    return this.#inTurn(async () => {
      await this.#addAddresses([...this.#placed.values()].map((placed) => placed.number));
      await this.#order();
    });
  }

  /**
   * One change after the other: an address is there before anybody listens on it, and gone
   * before it is given away again.
   */
  #inTurn(change: () => Promise<void>): Promise<void> {
    const done = this.#last.then(change);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #order(): Promise<void> {
    if (!this.#powered || (!this.#server && this.#placed.size === 0)) return;
    this.#server ??= this.#startServer();
    this.#sequence += 1;
    const order: BackendOrder = { sequence: this.#sequence, endpoints: this.#endpoints() };
    const served = new Promise<void>((resolve) => this.#waiting.set(order.sequence, resolve));
    this.#server.stdin?.write(`${JSON.stringify(order)}\n`);
    const budget = setTimeout(() => this.#settle(order.sequence), LISTEN_BUDGET_MS);
    await served;
    clearTimeout(budget);
  }

  #settle(sequence: number): void {
    this.#waiting.get(sequence)?.();
    this.#waiting.delete(sequence);
  }

  #startServer(): ChildProcess {
    const name = `backend-${this.#host.name}`;
    const argv = [NODE, join(import.meta.dirname, "backend-server.ts")];
    const child = spawn("nsenter", nsenterArgv(namespaceOf(this.#lab, podsHost(this.#host.name)), argv), { stdio: ["pipe", "pipe", "pipe"] });
    child.stderr.on("data", (text) => appendFileSync(this.#processes.logPath(name), String(text)));
    // Writing to a server that was just killed fails here; its exit is what counts.
    child.stdin.on("error", () => undefined);
    createInterface({ input: child.stdout }).on("line", (line) => this.#settle(Number(line)));
    child.on("error", () => undefined);
    child.on("exit", () => {
      if (this.#server !== child) return;
      this.#server = undefined;
      setTimeout(() => void this.#inTurn(() => this.#order()), 500);
    });
    if (child.pid !== undefined) this.#processes.remember(name, child.pid, argv);
    return child;
  }

  #endpoints(): BackendEndpoint[] {
    return [...this.#placed.values()].flatMap((placed) =>
      this.#addresses(placed.number).flatMap((address) =>
        placed.ports.map((port) => ({ pod: placed.pod, node: this.#host.name, address, port: port.port, protocol: port.protocol }))));
  }

  #freeNumber(preferred: string | undefined): number {
    const taken = new Set([...this.#placed.values()].map((placed) => placed.number));
    const asked = preferred?.startsWith(this.#host.pods?.ipv4Prefix ?? " ") ? Number(preferred.split(".")[3]) : 0;
    if (asked >= FIRST_POD && asked <= LAST_POD && !taken.has(asked)) return asked;
    for (let number = FIRST_POD; number <= LAST_POD; number += 1) {
      if (!taken.has(number)) return number;
    }
    throw new Error(`${this.#host.name} has no address left for a pod`);
  }

  #addresses(number: number): string[] {
    return [`${this.#host.pods?.ipv4Prefix}${number}`, `${this.#host.pods?.ipv6Prefix}${number}`];
  }

  async #addAddresses(numbers: readonly number[]): Promise<void> {
    await this.#ip(numbers.flatMap((number) => this.#addressLines("replace", number)));
  }

  #addressLines(verb: "replace" | "del", number: number): string[] {
    const [ipv4, ipv6] = this.#addresses(number);
    return [`addr ${verb} ${ipv4}/${POD_PREFIX_LENGTH.ipv4} dev eth0`, `addr ${verb} ${ipv6}/${POD_PREFIX_LENGTH.ipv6} dev eth0`];
  }

  async #ip(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    const child = run("ip", ["-n", namespaceOf(this.#lab, podsHost(this.#host.name)), "-force", "-batch", "-"]);
    child.child.stdin?.end(`${lines.join("\n")}\n`);
    await child;
  }
}
