/**
 * Asks for an address, raw, on the client's eth0. Prints `[begun]` when it begins, then `[answered, mac]` per answer, in Unix ms.
 * Usage: node arp-program.ts ADDRESS OWN_ADDRESS INTERVAL_MS
 */
import { setPriority } from "node:os";
import { ArpOperation, decodeArpPacket, encodeArpPacket } from "../../speaker/layer2/arp-packet.ts";
import { watchInterfaces } from "../../sys/interfaces.ts";
import { PollSet } from "../../sys/libc.ts";
import { acceptAllFilter, openArpSocket } from "../../sys/packet-socket.ts";
import { formatIpAddress, parseIpAddress } from "../../wire/ip-address.ts";
import { BROADCAST_MAC, ZERO_MAC, parseMacAddress } from "../../wire/mac-address.ts";
import type { ArpLine } from "./arp-watch.ts";

const [address = "", ownAddress = "", interval = ""] = process.argv.slice(2);
const intervalMs = Number(interval);
if (!(intervalMs > 0)) throw new Error(`'${interval}' is no number of milliseconds`);
setPriority(-15);
const monitor = watchInterfaces();
const eth0 = monitor.links().find(({ name }) => name === "eth0");
if (eth0?.mac === undefined) throw new Error("there is no eth0 here");
const own = parseMacAddress(eth0.mac);
const socket = openArpSocket(eth0.index, acceptAllFilter);
const question = encodeArpPacket({
  ethernetDestination: BROADCAST_MAC,
  ethernetSource: own,
  operation: ArpOperation.request,
  senderHardwareAddress: own,
  senderProtocolAddress: parseIpAddress(ownAddress),
  targetHardwareAddress: ZERO_MAC,
  targetProtocolAddress: parseIpAddress(address),
});
const buffer = new Uint8Array(2048);
const waiting = new PollSet([socket.fd]);
const now = (): number => performance.timeOrigin + performance.now();
const print = (line: ArpLine): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

function readAll(): void {
  for (let length = socket.receive(buffer); length !== undefined; length = socket.receive(buffer)) {
    const packet = decodeArpPacket(buffer.subarray(0, length));
    if (packet.operation !== ArpOperation.reply || formatIpAddress(packet.senderProtocolAddress) !== address) continue;
    print([now(), packet.senderHardwareAddress]);
  }
}

let next = now();
function turn(): void {
  socket.send(question);
  next += intervalMs;
  for (let left = next - now(); left > 0; left = next - now()) if (waiting.wait(Math.ceil(left)).length > 0) readAll();
  setImmediate(turn);
}
process.stdin.resume().on("end", () => process.exit(0));
print([now()]);
turn();
