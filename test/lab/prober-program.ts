/**
 * Uses a Service from the client: a UDP request every 10 ms from one socket, and a fresh TCP connection every 20 ms, closed
 * as soon as it stands. Prints `[protocol, sent, answered]` per attempt, in Unix ms; `answered` is null when no answer came
 * within a second (for TCP 0.9 s: what the kernel's second SYN brings comes too late). An answer over UDP that comes later is
 * printed all the same: nobody sends a request again, so that it was slow and not lost. Times in which this program itself
 * stood still are printed as `["stall", from, to]`: what it did not see then nobody can know.
 * Usage: node prober-program.ts ADDRESS TCP_PORT UDP_PORT
 */
import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import { setPriority } from "node:os";
import type { Observation } from "./prober.ts";

const UDP_INTERVAL_MS = 10;
const TCP_INTERVAL_MS = 20;
const UDP_TIMEOUT_MS = 1000;
const TCP_TIMEOUT_MS = 900;
/** How long an answer may still come after that, and how long the end waits for those. */
const LATE_MS = 4000;
/** A turn that comes so much later than it was due is told. */
const STALL_MS = 50;
/** Answers that wait while this program does not run; the kernel gives what its limit allows. */
const RECEIVE_BUFFER_BYTES = 1 << 20;

const [address = "", tcpPort, udpPort] = process.argv.slice(2);
// The stopwatch must not wait for what it measures.
setPriority(-15);

const now = (): number => performance.timeOrigin + performance.now();
const print = (observation: Observation): void => void process.stdout.write(`${JSON.stringify(observation)}\n`);

let ending = false;
const waiting = new Map<number, number>();
/** Requests that were given up, and may still be answered. */
const late = new Map<number, number>();
const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
socket.on("message", (message) => {
  const sequence = Number((JSON.parse(message.toString()) as { echo?: string }).echo);
  const sent = waiting.get(sequence) ?? late.get(sequence);
  if (sent !== undefined) print(["udp", sent, now()]);
  waiting.delete(sequence);
  late.delete(sequence);
});
// An ICMP error says no more than silence does.
socket.on("error", () => undefined);
socket.bind(() => socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES));

let sequence = 0;
function askUdp(): void {
  sequence += 1;
  waiting.set(sequence, now());
  socket.send(String(sequence), Number(udpPort), address, () => undefined);
  giveUp();
}

/** Says of requests whose time is over that they had no answer, and waits no longer for those that even a late answer comes too late for. */
function giveUp(): void {
  for (const [old, sent] of waiting) {
    if (now() - sent < UDP_TIMEOUT_MS) break;
    waiting.delete(old);
    late.set(old, sent);
    print(["udp", sent, null]);
  }
  for (const [old, sent] of late) {
    if (now() - sent < UDP_TIMEOUT_MS + LATE_MS) break;
    late.delete(old);
  }
}

let connecting = 0;
function askTcp(): void {
  const sent = now();
  connecting += 1;
  const connection = connect({ host: address, port: Number(tcpPort), noDelay: true });
  // After a time in which this program stood still, what came meanwhile is looked at first.
  const limit = setTimeout(() => setImmediate(() => settle(null)), TCP_TIMEOUT_MS);
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
function every(intervalMs: number, call: (dueMs: number) => void): void {
  let due = now();
  const turn = (): void => {
    if (ending) return;
    call(due);
    due += intervalMs;
    if (due < now()) due = now();
    setTimeout(turn, Math.max(0, due - now()));
  };
  turn();
}

function finish(): void {
  // Looked at again and again: those that are still on their way are few, or none.
  const end = now() + UDP_TIMEOUT_MS + LATE_MS;
  const look = (): void => {
    giveUp();
    if (waiting.size + late.size > 0 && now() < end) {
      setTimeout(look, UDP_INTERVAL_MS);
      return;
    }
    for (const sent of waiting.values()) print(["udp", sent, null]);
    process.stdout.write("", () => process.exit(0));
  };
  look();
}

every(UDP_INTERVAL_MS, (dueMs) => {
  if (now() - dueMs > STALL_MS) print(["stall", dueMs, now()]);
  askUdp();
});
every(TCP_INTERVAL_MS, askTcp);
process.stdin.resume().on("end", () => {
  ending = true;
  if (connecting === 0) finish();
});
