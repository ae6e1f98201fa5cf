/**
 * The allocator alone: up to 1,000,000 Services take and free addresses at random, in a /8 and in a /64, automatically and
 * by request. A Service is drawn; one that holds an address frees it, another takes one. Memory is what is alive after a
 * collection, on the heap and in typed arrays, less what was before; the Services' names are not in it. Time is that of
 * the processor (user), since the machines are shared.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Allocator } from "../controller/allocator/allocator.ts";
import { type IpAddress, type IpRange, parseIpRange } from "../wire/ip-address.ts";
import { seededRandom } from "../sys/random.ts";
import { printFigure } from "./figure.ts";

const SERVICES = 1_000_000;
const OPERATIONS = 2_000_000;
const GOAL = "> 500,000";
const MB = 1024 * 1024;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const names = Array.from({ length: SERVICES }, (_, index) => flat(`default/service-${index}`));

for (const cidr of ["10.0.0.0/8", "fd00::/64"]) {
  for (const how of ["automatic", "by request"] as const) await measure(cidr, how);
}

async function measure(cidr: string, how: "automatic" | "by request"): Promise<void> {
  const range = parseIpRange(cidr);
  const before = await liveMb();
  const { allocator, seconds } = operate(range, how);
  const used = (await liveMb()) - before;
  const held = allocator.holdings().size;
  const figure = { bench: "allocator", case: `${cidr}, ${how}`, samples: OPERATIONS };
  printFigure({ ...figure, metric: "operations", value: Math.round(OPERATIONS / seconds), unit: "1/s", goal: GOAL });
  printFigure({ ...figure, metric: `memory with ${held} addresses taken`, value: used, unit: "MB" });
  printFigure({ ...figure, metric: "memory of an address taken", value: Math.round((used * MB) / held), unit: "B" });
}

function operate(range: IpRange, how: "automatic" | "by request"): { allocator: Allocator; seconds: number } {
  const allocator = new Allocator();
  allocator.setPools(new Map([["pool", { name: "pool", ranges: [range], autoAssign: true, avoidBuggyIps: false }]]));
  const random = seededRandom(1);
  const draw = (): number => Math.floor(random.next() * SERVICES);
  const start = process.cpuUsage();
  for (let operation = 0; operation < OPERATIONS; operation++) {
    const index = draw();
    const service = names[index] ?? "";
    if (allocator.holding(service) !== undefined) {
      allocator.release(service);
      continue;
    }
    const addresses = how === "automatic" ? [] : [addressFor(range, index)];
    allocator.allocate({ service, families: [range.family], oneIsEnough: false, admits: () => true, addresses });
  }
  return { allocator, seconds: process.cpuUsage(start).user / 1e6 };
}

/** In one piece: text that was put together is turned into that when somebody reads it, and would then count as the allocator's memory. */
function flat(text: string): string {
  return Buffer.from(text).toString();
}

/** An address of its own for each, spread over the range. */
function addressFor({ family, first, last }: IpRange, index: number): IpAddress {
  const step = (last - first + 1n) / BigInt(SERVICES);
  return { family, value: first + step * BigInt(index) };
}

/** On the heap and in typed arrays, in MiB. What the work before left behind is collected only when nothing of it is on the stack any more. */
async function liveMb(): Promise<number> {
  await new Promise(setImmediate);
  collect();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return (heapUsed + arrayBuffers) / MB;
}
