import { describe, expect, test } from "vitest";
import { FakeClock } from "../sys/fake-clock.ts";
import { silentLogger } from "../sys/log.ts";
import { seededRandom } from "../sys/random.ts";
import { ApiFreshness } from "./api-freshness.ts";
import { KubeError } from "./client.ts";
import { FakeKubeClient } from "./fake-client.ts";
import { Informer } from "./informer.ts";
import { nodes, services } from "./objects.ts";

interface Setup {
  readonly client: FakeKubeClient;
  readonly clock: FakeClock;
  readonly freshness: ApiFreshness;
  /** "milliseconds fresh" of each change. */
  readonly changes: string[];
  readonly names: string[];
  stop(): Promise<void>;
}

function setUp(): Setup {
  const client = new FakeKubeClient();
  const clock = new FakeClock();
  const names: string[] = [];
  const changes: string[] = [];
  const shared = { client, clock, random: seededRandom(1), log: silentLogger };
  const onFollowing = (): void => freshness.review();
  const informers = [
    new Informer({ ...shared, type: services, onFollowing, onChange: ({ object }) => void names.push(object.metadata.name) }),
    new Informer({ ...shared, type: nodes, onFollowing, onChange: ({ object }) => void names.push(object.metadata.name) }),
  ];
  const freshness = new ApiFreshness({ ...shared, followed: () => informers, onChange: (fresh) => void changes.push(`${clock.now()} ${fresh}`) });
  for (const informer of informers) informer.start();
  freshness.start();
  const stop = async (): Promise<void> => {
    await Promise.all([freshness.stop(), ...informers.map((informer) => informer.stop())]);
  };
  return { client, clock, freshness, changes, names, stop };
}

describe("ApiFreshness", () => {
  test("fresh once every watch is open, and for as long as the server answers", async () => {
    const { clock, changes, stop } = setUp();
    await clock.advance(60_000);
    expect(changes).toEqual(["0 true"]);
    await stop();
    expect(changes).toEqual(["0 true"]);
  });

  test("not fresh while the server is away at the start", async () => {
    const { client, clock, freshness, changes, stop } = setUp();
    client.outage(true);
    await clock.advance(60_000);
    expect(freshness.fresh).toBe(false);
    client.outage(false);
    await clock.advance(1_000);
    expect(freshness.fresh).toBe(true);
    expect(changes).toHaveLength(1);
    await stop();
  });

  test("watches that hang: noticed by the next probe, and followed anew as soon as the server answers", async () => {
    const { client, clock, freshness, names, stop } = setUp();
    await clock.advance(10_000);
    client.hang(true);
    client.put(nodes, { metadata: { name: "unheard" } });
    await clock.advance(2_600);
    expect(freshness.fresh).toBe(false);
    await clock.advance(60_000);
    expect(names).toEqual([]);
    client.hang(false);
    await clock.advance(600);
    expect(freshness.fresh).toBe(true);
    expect(names).toEqual(["unheard"]);
    await stop();
    expect(client.openWatches).toBe(0);
  });

  test("one watch that is refused is enough not to be fresh", async () => {
    const { client, clock, freshness, stop } = setUp();
    await clock.advance(1_000);
    client.failNext({ verb: "watch", plural: "nodes", times: 2, error: new KubeError({ code: 500, reason: "InternalError", message: "no" }) });
    client.endWatches();
    await clock.advance(400);
    expect(freshness.fresh).toBe(false);
    await clock.advance(5_000);
    expect(freshness.fresh).toBe(true);
    await stop();
  });
});
