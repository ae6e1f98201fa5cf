import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KubeConfig } from "@kubernetes/client-node/dist/config.js";
import { afterEach, describe, expect, test } from "vitest";
import { systemClock, type Clock } from "../sys/clock.ts";
import { FakeClock } from "../sys/fake-clock.ts";
import type { KubeClient } from "./client.ts";
import { createKubeClient } from "./http-client.ts";
import { nodes } from "./objects.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

/** A client of a server that answers with `handler`. */
async function connect(handler: Handler, options: { clock?: Clock; authProvider?: object; watchIdleMs?: number } = {}): Promise<KubeClient> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no address");
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromClusterAndUser(
    { name: "c", server: `http://127.0.0.1:${address.port}/root`, skipTLSVerify: true },
    options.authProvider === undefined ? { name: "u", token: "secret" } : { name: "u", authProvider: options.authProvider },
  );
  const { clock = systemClock, watchIdleMs = 150_000 } = options;
  const client = createKubeClient({ kubeConfig, userAgent: "test/1", clock, watchIdleMs });
  cleanups.push(() => {
    client.close();
    server.closeAllConnections();
    server.close();
  });
  return client;
}

function answer(response: ServerResponse, code: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(code, headers).end(typeof body === "string" ? body : JSON.stringify(body));
}

const node = { metadata: { name: "n" } };

describe("HTTP client", () => {
  test("says who it is, under the server's own path", async () => {
    const seen: unknown[] = [];
    const client = await connect((request, response) => {
      seen.push(request.url, request.headers.authorization, request.headers["user-agent"]);
      answer(response, 200, node);
    });
    expect(await client.get(nodes, { name: "n" })).toEqual(node);
    expect(seen).toEqual(["/root/api/v1/nodes/n", "Bearer secret", "test/1"]);
  });

  test("a refusal keeps its code, reason and the wait it asks for", async () => {
    const client = await connect((_request, response) => answer(response, 429, { kind: "Status", reason: "TooManyRequests", message: "slow down" }, { "retry-after": "7" }));
    await expect(client.get(nodes, { name: "n" })).rejects.toMatchObject({ code: 429, reason: "TooManyRequests", message: "slow down", retryAfterSeconds: 7 });
  });

  test("a page that is no Status", async () => {
    const client = await connect((_request, response) => answer(response, 502, "<h1>Bad Gateway</h1>"));
    await expect(client.get(nodes, { name: "n" })).rejects.toMatchObject({ code: 502, reason: "BadGateway" });
  });

  test("an answer that is no JSON, or cut short, is no answer", async () => {
    const client = await connect((request, response) => {
      if (request.url?.endsWith("cut") === true) {
        response.writeHead(200, { "content-length": "100" }).write("{");
        response.destroy();
      } else answer(response, 200, "nonsense");
    });
    await expect(client.get(nodes, { name: "n" })).rejects.toMatchObject({ code: 0, reason: "Unreachable" });
    await expect(client.get(nodes, { name: "cut" })).rejects.toMatchObject({ code: 0, reason: "Unreachable" });
  });

  test("401 is tried once more with fresh credentials", async () => {
    let calls = 0;
    const client = await connect((_request, response) => {
      calls += 1;
      answer(response, calls === 1 ? 401 : 200, calls === 1 ? { reason: "Unauthorized" } : node);
    });
    expect(await client.get(nodes, { name: "n" })).toEqual(node);
    calls = 0;
    const refused = await connect((_request, response) => answer(response, 401, { reason: "Unauthorized", message: "no" }));
    await expect(refused.get(nodes, { name: "n" })).rejects.toMatchObject({ code: 401, reason: "Unauthorized" });
  });

  test("a token file that was renewed is read anew when the old token is refused", async () => {
    const folder = mkdtempSync(join(tmpdir(), "herald-token-"));
    cleanups.push(() => rmSync(folder, { recursive: true }));
    const tokenFile = join(folder, "token");
    writeFileSync(tokenFile, "old\n");
    let valid = "Bearer old";
    const handler: Handler = (request, response) => answer(response, request.headers.authorization === valid ? 200 : 401, request.headers.authorization === valid ? node : { reason: "Unauthorized" });
    const client = await connect(handler, { authProvider: { name: "tokenFile", config: { tokenFile } } });
    expect(await client.get(nodes, { name: "n" })).toEqual(node);
    writeFileSync(tokenFile, "new\n");
    valid = "Bearer new";
    expect(await client.get(nodes, { name: "n" })).toEqual(node);
  });

  test("no answer within ten seconds is Unreachable", async () => {
    const clock = new FakeClock();
    let asked = (): void => {};
    const received = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const client = await connect(() => asked(), { clock });
    const failed = expect(client.get(nodes, { name: "n" })).rejects.toMatchObject({ code: 0, message: expect.stringContaining("no answer within 10 s") });
    await received;
    await clock.advance(10_000);
    await failed;
  });

  test("at most 16 requests are in flight", async () => {
    let now = 0;
    let most = 0;
    const client = await connect((_request, response) => {
      now += 1;
      most = Math.max(most, now);
      setImmediate(() => {
        now -= 1;
        answer(response, 200, node);
      });
    });
    await Promise.all(Array.from({ length: 100 }, () => client.get(nodes, { name: "n" })));
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(16);
  });

  test("a list is followed page by page; an expired page leads to a whole list", async () => {
    const queries: string[] = [];
    const client = await connect((request, response) => {
      const query = new URL(request.url ?? "", "http://x").searchParams;
      queries.push(`${query.get("limit")} ${query.get("continue")}`);
      if (query.get("continue") === "next") answer(response, 410, { reason: "Expired" });
      else answer(response, 200, { metadata: { resourceVersion: "5", continue: query.has("limit") ? "next" : "" }, items: [node] });
    });
    expect(await client.list(nodes)).toEqual({ items: [node], resourceVersion: "5" });
    expect(queries).toEqual(["500 null", "500 next", "null null"]);
  });

  test("a watch gives events and bookmarks, and an ERROR event is thrown", async () => {
    const client = await connect((_request, response) => {
      const lines = [
        { type: "ADDED", object: node },
        { type: "BOOKMARK", object: { metadata: { resourceVersion: "9" } } },
        { type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired", message: "too old" } },
      ];
      answer(response, 200, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    });
    const seen: unknown[] = [];
    const watching = (async (): Promise<void> => {
      for await (const event of client.watch(nodes, { resourceVersion: "1", signal: new AbortController().signal })) seen.push(event);
    })();
    await expect(watching).rejects.toMatchObject({ code: 410, reason: "Expired" });
    expect(seen).toEqual([
      { type: "ADDED", object: node },
      { type: "BOOKMARK", resourceVersion: "9" },
    ]);
  });

  test("a silent watch is taken for dead", async () => {
    const clock = new FakeClock();
    const client = await connect((_request, response) => void response.writeHead(200).write(`${JSON.stringify({ type: "ADDED", object: node })}\n`), { clock, watchIdleMs: 1_000 });
    const events = client.watch(nodes, { resourceVersion: "1", signal: new AbortController().signal })[Symbol.asyncIterator]();
    await events.next();
    const failed = expect(events.next()).rejects.toMatchObject({ code: 0, reason: "Silent", message: expect.stringContaining("silent for 1 s") });
    await clock.advance(1_000);
    await failed;
  });

  test("a probe: any answer will do but a server's failure, and none in time is a failure", async () => {
    let code = 200;
    const client = await connect((request, response) => {
      if (request.url === "/root/version" && code !== 0) answer(response, code, { message: "whatever" });
    });
    await client.probe(5_000);
    code = 403;
    await client.probe(5_000);
    code = 503;
    await expect(client.probe(5_000)).rejects.toMatchObject({ code: 503 });
    code = 0;
    await expect(client.probe(20)).rejects.toMatchObject({ code: 0, reason: "Unreachable" });
  });
});
