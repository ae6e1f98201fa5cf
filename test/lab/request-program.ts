/**
 * Asks a Service over HTTP every 100 ms, each time over a connection of its own, and prints a line of JSON per request
 * (`RequestSeen`). A request waits for nobody and is given up after a second. Ends on SIGTERM, or when nobody reads.
 * Usage: node request-program.ts URL
 */
import { request } from "node:http";
import type { RequestSeen } from "./request-watch.ts";

const INTERVAL_MS = 100;
const PATIENCE_MS = 1000;
const url = process.argv[2] ?? "";

function ask(): void {
  const sentAtMs = Date.now();
  let connectedAtMs: number | null = null;
  const print = (answeredAtMs: number | null): void => {
    const seen: RequestSeen = { sentAtMs, connectedAtMs, answeredAtMs };
    process.stdout.write(`${JSON.stringify(seen)}\n`);
  };
  const call = request(url, { agent: false }, (response) => {
    response.resume().on("end", () => print(Date.now())).on("error", () => print(null));
  });
  call.on("socket", (socket) => {
    socket.on("connect", () => {
      connectedAtMs = Date.now();
    });
  });
  call.on("error", () => print(null));
  setTimeout(() => call.destroy(new Error("too late")), PATIENCE_MS).unref();
  call.end();
}

process.stdout.on("error", () => process.exit(0));
process.on("SIGTERM", () => process.exit(0));
setInterval(ask, INTERVAL_MS);
