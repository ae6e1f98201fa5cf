/**
 * Asks by ARP for an address every 10 ms, raw, on the client's eth0. Prints when it begins to ask, and then when each answer
 * came, in Unix ms.
 * Usage: node asker-program.ts ADDRESS OWN_ADDRESS
 */
import { setPriority } from "node:os";
import { ArpOperation, decodeArpPacket, encodeArpPacket } from "../../speaker/layer2/arp-packet.ts";
import { watchInterfaces } from "../../sys/interfaces.ts";
import { PollSet } from "../../sys/libc.ts";
import { acceptAllFilter, openArpSocket } from "../../sys/packet-socket.ts";
import { formatIpAddress, parseIpAddress } from "../../wire/ip-address.ts";
import { BROADCAST_MAC, ZERO_MAC, parseMacAddress } from "../../wire/mac-address.ts";

const INTERVAL_MS = 10;

const [address = "", ownAddress = ""] = process.argv.slice(2);
// The stopwatch must not wait for what it measures.
setPriority(-15);
const eth0 = watchInterfaces().links().find(({ name }) => name === "eth0");
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
const print = (): void => void process.stdout.write(`${now()}\n`);

function isAnswer(frame: Uint8Array): boolean {
  const { operation, senderProtocolAddress } = decodeArpPacket(frame);
  return operation === ArpOperation.reply && formatIpAddress(senderProtocolAddress) === address;
}

function readAll(): void {
  for (let length = socket.receive(buffer); length !== undefined; length = socket.receive(buffer)) {
    if (isAnswer(buffer.subarray(0, length))) print();
  }
}

let next = now();
function turn(): void {
  socket.send(question);
  next += INTERVAL_MS;
  for (let left = next - now(); left > 0; left = next - now()) if (waiting.wait(Math.ceil(left)).length > 0) readAll();
  setImmediate(turn);
}
process.stdin.resume().on("end", () => process.exit(0));
print();
turn();
