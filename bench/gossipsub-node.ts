/**
 * One gossipsub node on libp2p, started by `gossipsub.ts`, which bundles it so that Node strips no types in it:
 * `gossipsub-node STACK ADDRESS [DIAL ...]`. Prints a JSON line whenever its peers change.
 */
const TOPIC = "members";
const LIBP2P_PORT = 4001;
/** How exactly a change of the mesh is timed. */
const LOOK_MS = 20;

/** One line of the gossipsub program: how many peers it has now, in the topic's mesh and connected. */
export interface MeshLine {
  readonly atUnixMs: number;
  readonly mesh: number;
  readonly connections: number;
}

/** What is used of the modules that the bench installs; they are no dependencies, so that there are no types of theirs. */
interface Libp2pNode {
  readonly services: { readonly pubsub: { subscribe(topic: string): void; getMeshPeers(topic: string): readonly unknown[] } };
  getConnections(): readonly unknown[];
  dial(address: unknown): Promise<unknown>;
}
type Factory = (options?: unknown) => unknown;
interface Libp2pStack {
  readonly createLibp2p: (options: unknown) => Promise<Libp2pNode>;
  readonly multiaddr: (text: string) => unknown;
  readonly tcp: Factory;
  readonly noise: Factory;
  readonly yamux: Factory;
  readonly identify: Factory;
  readonly gossipsub: Factory;
}

const [stackFile, address, ...dials] = process.argv.slice(2);
const stack = (await import(stackFile ?? "")) as Libp2pStack;
const node = await stack.createLibp2p({
  addresses: { listen: [`/ip4/${address}/tcp/${LIBP2P_PORT}`] },
  transports: [stack.tcp()],
  connectionEncrypters: [stack.noise()],
  streamMuxers: [stack.yamux()],
  services: { identify: stack.identify(), pubsub: stack.gossipsub() },
});
node.services.pubsub.subscribe(TOPIC);
for (const dial of dials) await node.dial(stack.multiaddr(`/ip4/${dial}/tcp/${LIBP2P_PORT}`));
let before = "";
setInterval(() => {
  const now = { mesh: node.services.pubsub.getMeshPeers(TOPIC).length, connections: node.getConnections().length };
  const text = JSON.stringify(now);
  if (text !== before) console.log(JSON.stringify({ atUnixMs: Date.now(), ...now } satisfies MeshLine));
  before = text;
}, LOOK_MS);
