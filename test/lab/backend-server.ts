import { createSocket } from "node:dgram";
import type { EventEmitter } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, isIPv6 } from "node:net";
import { createInterface } from "node:readline";

/**
 * Serves every ordinary pod of a node, from the network namespace of its pods: HTTP on each TCP
 * port and an echo on each UDP port of the pod's own addresses. One process per node, ordered
 * about by lines of JSON on its standard input; it ends when that input ends, so it never
 * outlives the player.
 */

/** An order: what should be served from now on, completely. */
export interface BackendOrder {
  /** Printed as a line of its own when all of it is being served. */
  readonly sequence: number;
  readonly endpoints: readonly BackendEndpoint[];
}

/** A port of a pod at one of its addresses. */
export interface BackendEndpoint {
  readonly pod: string;
  readonly node: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: "TCP" | "UDP";
}

/** What a backend answers: to HTTP as one line of JSON, to UDP the same with the text it got. */
export interface BackendAnswer {
  readonly pod: string;
  readonly node: string;
  /** Address and port of the client as the pod sees them. */
  readonly client: string;
  readonly clientPort: number;
  /** The pod's own address that was asked. */
  readonly address: string;
  readonly port: number;
  readonly path?: string;
  readonly echo?: string;
}

/** What is being served, by endpoint, and how to end it. */
const open = new Map<string, Served>();

interface Served {
  /** Resolves when it listens, or failed to. */
  readonly settled: Promise<void>;
  close(): void;
}

async function obey(order: BackendOrder): Promise<void> {
  const wanted = new Map(order.endpoints.map((endpoint) => [keyOf(endpoint), endpoint]));
  for (const [key, served] of open) {
    if (wanted.has(key)) continue;
    served.close();
    open.delete(key);
  }
  for (const [key, endpoint] of wanted) {
    if (!open.has(key)) open.set(key, endpoint.protocol === "TCP" ? serveHttp(endpoint) : serveUdp(endpoint));
  }
  await Promise.all([...open.values()].map((served) => served.settled));
  console.log(order.sequence);
}

function keyOf(endpoint: BackendEndpoint): string {
  return `${endpoint.protocol} ${endpoint.address} ${endpoint.port} ${endpoint.pod}`;
}

function serveHttp(endpoint: BackendEndpoint): Served {
  const server = createServer((request, response) => {
    const answer: BackendAnswer = {
      pod: endpoint.pod,
      node: endpoint.node,
      client: request.socket.remoteAddress ?? "",
      clientPort: request.socket.remotePort ?? 0,
      address: endpoint.address,
      port: endpoint.port,
      path: request.url ?? "",
    };
    response.setHeader("Content-Type", "application/json");
    response.end(`${JSON.stringify(answer)}\n`);
  });
  const settled = settledOf(server, endpoint);
  server.listen({ host: endpoint.address, port: endpoint.port, exclusive: true });
  // Requests under way still get their answer.
  return { settled, close: () => void server.close().closeIdleConnections() };
}

function serveUdp(endpoint: BackendEndpoint): Served {
  const socket = createSocket({ type: isIPv6(endpoint.address) ? "udp6" : "udp4" });
  const settled = settledOf(socket, endpoint);
  socket.on("message", (message, client) => {
    const local: AddressInfo = socket.address();
    const answer: BackendAnswer = {
      pod: endpoint.pod,
      node: endpoint.node,
      client: client.address,
      clientPort: client.port,
      address: local.address,
      port: local.port,
      echo: message.toString(),
    };
    socket.send(JSON.stringify(answer), client.port, client.address);
  });
  socket.bind({ address: endpoint.address, port: endpoint.port });
  return { settled, close: () => void socket.close() };
}

function settledOf(door: EventEmitter, endpoint: BackendEndpoint): Promise<void> {
  return new Promise((resolve) => {
    door.once("listening", () => resolve());
    door.on("error", (error: Error) => {
      console.error(`${keyOf(endpoint)}: ${error.message}`);
      // The next order tries again.
      open.delete(keyOf(endpoint));
      resolve();
    });
  });
}

const orders = createInterface({ input: process.stdin });
orders.on("line", (line) => void obey(JSON.parse(line) as BackendOrder));
orders.on("close", () => process.exit(0));
