/**
 * Records what hashicorp/memberlist itself sends, as test vectors: three members talk in a network namespace of their own,
 * one of them takes in no datagram (so that it is asked after through the others, and over TCP), then it is killed and
 * another leaves. Of every kind of datagram and stream the first one is kept. Needs root and `scripts/setup peers`.
 * `node test/peers/memberlist/record.ts FOLDER`
 */

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { keyringOf } from "../../../speaker/membership/keyring.ts";
import type { PacketMessage, StreamMessage } from "../../../speaker/membership/message.ts";
import { decodePacket } from "../../../speaker/membership/packet-codec.ts";
import { StreamDecoder } from "../../../speaker/membership/stream-codec.ts";
import { readable, RECORDED_SECRET } from "../../membership/readable.ts";
import { MemberlistPeer } from "./peer.ts";

interface Round {
  /** Beginning of the vectors' names. */
  readonly name: string;
  readonly addresses: readonly [string, string, string];
  readonly secret: string;
  readonly compress: boolean;
  /** memberlist's protocol version; 2 by default. */
  readonly protocol?: number;
}

interface Recorded {
  readonly kind: "packet" | "stream";
  readonly hex: string;
}

const ROUNDS: readonly Round[] = [
  { name: "clear", addresses: ["192.0.2.1", "192.0.2.2", "192.0.2.3"], secret: "", compress: false },
  { name: "compressed", addresses: ["192.0.2.1", "192.0.2.2", "192.0.2.3"], secret: "", compress: true },
  { name: "sealed", addresses: ["2001:db8::1", "2001:db8::2", "2001:db8::3"], secret: RECORDED_SECRET, compress: true },
  { name: "padded", addresses: ["2001:db8::1", "2001:db8::2", "2001:db8::3"], secret: RECORDED_SECRET, compress: false, protocol: 1 },
];
const WRAPPERS: ReadonlyMap<number, string> = new Map([
  [7, "compound-"],
  [9, "compressed-"],
  [12, "checksummed-"],
]);
const BUDGET_MS = 60_000;
const [folder] = process.argv.slice(2);
if (folder === undefined) {
  process.stderr.write("record: name the folder for the vectors\n");
  process.exit(2);
}
const version = /memberlist (v\S+)/.exec(readFileSync(join(import.meta.dirname, "go.mod"), "utf8"))?.[1];
const namespace = `hrld-${process.pid}-record`;
const scratch = mkdtempSync(join(tmpdir(), "herald-record-"));
mkdirSync(folder, { recursive: true });
execFileSync("ip", ["netns", "add", namespace]);
try {
  execFileSync("ip", ["-n", namespace, "link", "set", "lo", "up"]);
  for (const address of new Set(ROUNDS.flatMap(({ addresses }) => addresses))) {
    const length = address.includes(":") ? 128 : 32;
    execFileSync("ip", ["-n", namespace, "address", "add", `${address}/${length}`, "dev", "lo", ...(length === 128 ? ["nodad"] : [])]);
  }
  for (const round of ROUNDS) writeVectors(round, await play(round));
} finally {
  execFileSync("ip", ["netns", "delete", namespace]);
  rmSync(scratch, { recursive: true });
}

/** Lets three members live and die. */
async function play(round: Round): Promise<Recorded[]> {
  const files = round.addresses.map((_, index) => join(scratch, `${round.name}-${index}`));
  const peers: MemberlistPeer[] = [];
  try {
    for (const [index, bind] of round.addresses.entries()) {
      const flags = ["-record", files[index] ?? "", `-compress=${String(round.compress)}`, `-protocol=${round.protocol ?? 2}`, ...(index === 1 ? ["-meta", "0102"] : []), ...(index === 2 ? ["-deaf-udp"] : [])];
      const peer = await MemberlistPeer.start({ namespace, name: `node-${index + 1}`, bind, secret: round.secret, flags });
      peers.push(peer);
      if (index > 0) await peer.join(hostPort(round.addresses[0]));
    }
    const [first, second, third] = peers;
    if (first === undefined || second === undefined || third === undefined) throw new Error("three peers were wanted");
    first.command("send node-2 00ff10");
    first.command("reliable node-2 01ff10");
    await second.until("both messages came", () => second.events.filter(({ event }) => event === "message").length === 2);
    if (round.secret === "") provokeError(round.addresses[0]);
    await until(() => has(files, round, ["packet nack", "stream ping", "stream ack"]), "the deaf member is asked after");
    await third.kill();
    await first.until("node-3 is found dead", () => first.events.some(({ event, member }) => event === "leave" && member?.name === "node-3"), BUDGET_MS);
    await second.leave();
    await first.until("node-2 has left", () => first.events.some(({ event, member }) => event === "leave" && member?.name === "node-2"));
    await until(() => has(files, round, ["packet suspect", "packet dead"]), "suspicion and death are told");
  } finally {
    for (const peer of peers) await peer.kill();
  }
  return files.flatMap(read);
}

/** An encrypted stream to a member without a key: it answers with an error. */
function provokeError(address: string): void {
  execFileSync("ip", ["netns", "exec", namespace, "bash", "-c", `exec 3<>/dev/tcp/${address}/7946; printf '\\x0a' >&3; cat <&3 >${scratch}/answer`]);
}

function hostPort(address: string): string {
  return address.includes(":") ? `[${address}]:7946` : `${address}:7946`;
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const end = performance.now() + BUDGET_MS;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${BUDGET_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function has(files: readonly string[], round: Round, wanted: readonly string[]): boolean {
  const kinds = new Set(files.flatMap(read).flatMap((recorded) => decode(recorded, round).map(({ kind }) => `${recorded.kind} ${kind}`)));
  return wanted.every((kind) => kinds.has(kind));
}

/** Whole lines; the last one may be half written. */
function read(file: string): Recorded[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line) as Recorded);
}

function decode({ kind, hex }: Recorded, round: Round): (PacketMessage | StreamMessage)[] {
  const bytes = Uint8Array.from(Buffer.from(hex, "hex"));
  const keyring = keyringOf(round.secret);
  if (kind === "packet") {
    return decodePacket(bytes, keyring, (error) => {
      throw error;
    });
  }
  const decoder = new StreamDecoder(keyring);
  decoder.push(bytes);
  const message = decoder.next();
  if (message === undefined || decoder.isInMessage) throw new Error(`not one whole message: ${hex}`);
  return [message];
}

function writeVectors(round: Round, all: readonly Recorded[]): void {
  const names = new Set<string>();
  for (const recorded of all) {
    const messages = decode(recorded, round);
    const wrapper = round.secret === "" ? (WRAPPERS.get(Number.parseInt(recorded.hex.slice(0, 2), 16)) ?? "") : "";
    const kinds = [...new Set(messages.map(({ kind }) => kind))].toSorted().join("-");
    const name = `${recorded.kind}-${round.name}-${wrapper}${kinds}`.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    if (names.has(name)) continue;
    names.add(name);
    const origin = `sent by hashicorp/memberlist ${version}, recorded by test/peers/memberlist/record.ts`;
    writeFileSync(join(folder ?? "", `${name}.txt`), `origin: ${origin}\nhex: ${recorded.hex}\njson: ${JSON.stringify(messages.map(readable))}\n`);
  }
  process.stdout.write(`${round.name}: ${names.size} kinds of ${all.length} datagrams and streams\n`);
}
