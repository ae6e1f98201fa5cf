/**
 * Uses a Service from the client: a UDP request every 10 ms from one socket, and a fresh TCP connection every 20 ms, closed
 * as soon as it stands. Prints `[protocol, sent, answered]` per attempt, in Unix ms; `answered` is null when no answer came
 * within a second (for TCP 0.9 s: what the kernel's second SYN brings comes too late).
 * Usage: node prober-program.ts ADDRESS TCP_PORT UDP_PORT
 */
import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import { setPriority } from "node:os";
import type { Attempt } from "./prober.ts";

const UDP_INTERVAL_MS = 10;
const TCP_INTERVAL_MS = 20;
const UDP_TIMEOUT_MS = 1000;
const TCP_TIMEOUT_MS = 900;

const [address = "", tcpPort, udpPort] = process.argv.slice(2);
// The stopwatch must not wait for what it measures.
setPriority(-15);

const now = (): number => performance.timeOrigin + performance.now();
const print = (attempt: Attempt): void => void process.stdout.write(`${JSON.stringify(attempt)}\n`);

let ending = false;
const waiting = new Map<number, number>();
const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
socket.on("message", (message) => {
  const sequence = Number((JSON.parse(message.toString()) as { echo?: string }).echo);
  const sent = waiting.get(sequence);
  if (sent !== undefined) print(["udp", sent, now()]);
  waiting.delete(sequence);
});
// An ICMP error says no more than silence does.
socket.on("error", () => undefined);

let sequence = 0;
function askUdp(): void {
  sequence += 1;
  waiting.set(sequence, now());
  socket.send(String(sequence), Number(udpPort), address, () => undefined);
  for (const [old, sent] of waiting) {
    if (now() - sent < UDP_TIMEOUT_MS) break;
    waiting.delete(old);
    print(["udp", sent, null]);
  }
}

let connecting = 0;
function askTcp(): void {
  const sent = now();
  connecting += 1;
  const connection = connect({ host: address, port: Number(tcpPort), noDelay: true });
  const limit = setTimeout(() => settle(null), TCP_TIMEOUT_MS);
  let settled = false;
  const settle = (answered: number | null): void => {
    if (settled) return;
    settled = true;
    clearTimeout(limit);
    connecting -= 1;
    print(["tcp", sent, answered]);
    connection.destroy();
    if (ending && connecting === 0) finish();
  };
  connection.on("connect", () => settle(now()));
  connection.on("error", () => settle(null));
}

/** Calls at a steady pace; what came due while the loop was busy is left out, not made up for. */
function every(intervalMs: number, call: () => void): void {
  let due = now();
  const turn = (): void => {
    if (ending) return;
    call();
    due += intervalMs;
    if (due < now()) due = now();
    setTimeout(turn, Math.max(0, due - now()));
  };
  turn();
}

function finish(): void {
  setTimeout(() => {
    for (const sent of waiting.values()) print(["udp", sent, null]);
    process.exit(0);
  }, UDP_TIMEOUT_MS);
}

every(UDP_INTERVAL_MS, askUdp);
every(TCP_INTERVAL_MS, askTcp);
process.stdin.resume().on("end", () => {
  ending = true;
  if (connecting === 0) finish();
});
