/**
 * Three of Herald's agreements in one process, for `gossipsub.ts`, which bundles it so that Node strips no types in it.
 * Datagrams are handed over in memory; what goes over streams is left out. Prints a line once all know each other.
 */
import { seededRandom } from "../sys/random.ts";
import { PROFILES } from "../speaker/detection/profiles.ts";
import { Agreement } from "../speaker/agreement/agreement.ts";
import { LAN_TIMING } from "../speaker/membership/membership-protocol.ts";

const TICK_MS = 20;

const bootUnixMs = Date.now();
const members = ["a", "b", "c"].map((node, index) => {
  const address = `192.0.2.${index + 1}`;
  const endpoint = { address, port: 7946 };
  const options = { node, endpoint, bootUnixMs, keys: [new Uint8Array(32).fill(7)], timing: LAN_TIMING, profile: PROFILES.default, failback: "sticky", template: "" } as const;
  return { node, address, endpoint, agreement: new Agreement(options, seededRandom(index + 1), () => Date.now()) };
});
type Input = Parameters<Agreement["handle"]>[0];
function give(member: (typeof members)[number], input: Input): void {
  for (const output of member.agreement.handle(input, performance.now())) {
    const to = output.kind === "datagram" ? members.find(({ address }) => address === output.to.address) : undefined;
    if (to !== undefined && output.kind === "datagram") setImmediate(give, to, { kind: "datagram", from: member.endpoint, bytes: output.bytes.slice() });
  }
}
for (const member of members) {
  give(member, { kind: "peers", peers: members.filter((other) => other !== member).map(({ node, address }) => ({ node, address })) });
  give(member, { kind: "ready" });
}
let isTold = false;
setInterval(() => {
  for (const member of members) give(member, { kind: "timeout" });
  if (isTold || members.some(({ agreement }) => agreement.usableMembers().length !== members.length - 1)) return;
  isTold = true;
  console.log(JSON.stringify({ together: members.length }));
}, TICK_MS);
