import assert from "node:assert/strict";
import { beforeEach, test } from "vitest";
import { FakeClock } from "../sys/fake-clock.ts";
import { AccessReview } from "./access-review.ts";
import { KubeError } from "./client.ts";
import { FakeKubeClient } from "./fake-client.ts";
import { subjectAccessReviews, tokenReviews } from "./objects.ts";

const scraper = "system:serviceaccount:monitoring:prometheus";
let client = new FakeKubeClient();
let clock = new FakeClock();
let access = new AccessReview({ client, clock, path: "/metrics" });
/** Users that may read /metrics. */
let allowed = new Set<string>();

beforeEach(() => {
  client = new FakeKubeClient();
  clock = new FakeClock();
  access = new AccessReview({ client, clock, path: "/metrics" });
  allowed = new Set([scraper]);
  client.answer(tokenReviews, (review) => {
    const username = { good: scraper, other: "system:serviceaccount:default:other" }[review.spec.token];
    return { ...review, status: username === undefined ? { authenticated: false } : { authenticated: true, user: { username, uid: "1", groups: ["system:authenticated"], extra: { pod: ["p"] } } } };
  });
  client.answer(subjectAccessReviews, (review) => ({ ...review, status: { allowed: allowed.has(review.spec.user) } }));
});

const kindOf = async (token: string): Promise<string> => (await access.judge(`Bearer ${token}`)).kind;
const asked = (): number => client.calls.filter(({ plural }) => plural === "tokenreviews").length;

test("without a token, or with another scheme, nobody is asked", async () => {
  for (const header of [undefined, "", "Bearer", "Bearer a b", "Basic Z29vZA=="]) {
    const verdict = await access.judge(header);
    assert.equal(verdict.kind, "unknown");
    assert.match(verdict.message, /A token is needed/);
  }
  assert.deepEqual(client.calls, []);
});

test("the API server says who bears the token and what it may, and is told all that it said", async () => {
  assert.equal(await kindOf("good"), "allowed");
  assert.deepEqual(client.calls.map(({ body }) => body), [
    { metadata: { name: "" }, spec: { token: "good" } },
    { metadata: { name: "" }, spec: { user: scraper, uid: "1", groups: ["system:authenticated"], extra: { pod: ["p"] }, nonResourceAttributes: { path: "/metrics", verb: "get" } } },
  ]);
  const forbidden = await access.judge("bearer other");
  assert.deepEqual(forbidden, { kind: "forbidden", message: 'system:serviceaccount:default:other may not read /metrics: bind it to a ClusterRole with the verb "get" on the nonResourceURL "/metrics".' });
  assert.equal(await kindOf("nonsense"), "unknown");
});

test("an answer is remembered for a minute, a refusal for ten seconds", async () => {
  await kindOf("good");
  await kindOf("other");
  await clock.advance(9_999);
  await kindOf("good");
  await kindOf("other");
  assert.equal(asked(), 2);
  await clock.advance(1);
  allowed.add("system:serviceaccount:default:other");
  assert.equal(await kindOf("other"), "allowed", "asked again");
  await clock.advance(50_000);
  allowed.clear();
  assert.equal(await kindOf("good"), "forbidden", "what was taken away is gone after a minute");
  client.outage(true);
  await clock.advance(10_000);
  assert.equal(await kindOf("good"), "unavailable", "and is not held while the API server is away");
});

test("the API server away: who was allowed stays so for ten minutes, about others nothing can be said", async () => {
  await kindOf("good");
  client.outage(true);
  await clock.advance(599_999);
  assert.equal(await kindOf("good"), "allowed");
  const verdict = await access.judge("Bearer other");
  assert.equal(verdict.kind, "unavailable");
  assert.match(verdict.message, /^The API server can't be asked whether this token may read \/metrics: /);
  await clock.advance(1);
  assert.equal(await kindOf("good"), "unavailable");
  client.outage(false);
  assert.equal(await kindOf("other"), "forbidden", "that nothing could be asked is not remembered");
});

test("rights that Herald itself lacks are named", async () => {
  client.failNext({ plural: "tokenreviews", error: new KubeError({ code: 403, reason: "Forbidden", message: "no" }) });
  const verdict = await access.judge("Bearer good");
  assert.equal(verdict.kind, "unavailable");
  assert.match(verdict.message, /create tokenreviews and subjectaccessreviews/);
});

test("an API server that does not answer costs five seconds, not the scrape", async () => {
  const silent = new AccessReview({ client: { create: () => new Promise(() => {}) }, clock, path: "/metrics" });
  const verdict = silent.judge("Bearer good");
  await clock.advance(5_000);
  assert.deepEqual(await verdict, { kind: "unavailable", message: "The API server did not say within 5 s whether this token may read /metrics." });
});

test("who was allowed lately waits a second for an API server that is silent", async () => {
  await kindOf("good");
  await clock.advance(60_000);
  let hangs = true;
  const create = client.create.bind(client);
  client.create = (...args) => (hangs ? new Promise(() => {}) : create(...args));
  const verdict = kindOf("good");
  await clock.advance(1_000);
  assert.equal(await verdict, "allowed");
  hangs = false;
  await clock.advance(5_000);
  allowed.clear();
  assert.equal(await kindOf("good"), "forbidden");
  assert.equal(clock.timers, 0);
});

test("one question per token at a time, and few tokens at a time", async () => {
  const verdicts = await Promise.all(Array.from({ length: 20 }, () => kindOf("good")));
  assert.deepEqual(new Set(verdicts), new Set(["allowed"]));
  assert.equal(asked(), 1);
  const many = await Promise.all(Array.from({ length: 20 }, (_, index) => kindOf(`nonsense-${index}`)));
  assert.deepEqual([many.filter((kind) => kind === "unknown").length, many.filter((kind) => kind === "unavailable").length], [4, 16]);
});

test("a flood of bad tokens pushes out nobody who is allowed", async () => {
  await kindOf("good");
  for (let index = 0; index < 600; index++) await kindOf(`nonsense-${index}`);
  const before = asked();
  assert.equal(await kindOf("good"), "allowed");
  assert.equal(await kindOf("nonsense-599"), "unknown");
  assert.equal(asked(), before);
  await kindOf("nonsense-0");
  assert.equal(asked(), before + 1, "the oldest refusals are forgotten");
});
