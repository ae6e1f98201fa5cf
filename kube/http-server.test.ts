import { connect, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { startHealthServer, type HttpServer } from "./http-server.ts";

const host = "127.0.0.1";
const open: HttpServer[] = [];
afterEach(async () => {
  for (const server of open.splice(0)) await server.close();
});

test("probes answer what the checks say", async () => {
  let problem: string | undefined = "no configuration yet";
  const server = await startHealthServer({ host, port: 0, liveness: {}, readiness: { config: () => problem } });
  open.push(server);
  const ask = async (path: string, method = "GET"): Promise<[number, string]> => {
    const response = await fetch(`http://${host}:${server.port}${path}`, { method });
    return [response.status, await response.text()];
  };
  expect(await ask("/healthz")).toEqual([200, "ok\n"]);
  expect(await ask("/readyz")).toEqual([503, "config: no configuration yet\n"]);
  problem = undefined;
  expect(await ask("/readyz?verbose")).toEqual([200, "ok\n"]);
  expect(await ask("/metrics")).toEqual([404, "not found\n"]);
  expect(await ask("/healthz", "POST")).toEqual([405, "only GET\n"]);
});

test("a taken port is a clear sentence", async () => {
  const first = await startHealthServer({ host, port: 0, liveness: {}, readiness: {} });
  open.push(first);
  await expect(startHealthServer({ host, port: first.port, liveness: {}, readiness: {} })).rejects.toThrow(
    `Cannot serve health probes on 127.0.0.1:${first.port}: another process has taken the port.`,
  );
});

test("without a host both families are served: a kubelet of an IPv6-first cluster probes [::]", async () => {
  const server = await startHealthServer({ port: 0, liveness: {}, readiness: {} });
  open.push(server);
  for (const address of ["127.0.0.1", "[::1]"]) expect((await fetch(`http://${address}:${server.port}/healthz`)).status).toBe(200);
});

test("a probe is answered however many connections somebody keeps open, who says nothing", async () => {
  const server = await startHealthServer({ host, port: 0, liveness: {}, readiness: {} });
  open.push(server);
  const ended: number[] = [];
  const silent: Socket[] = [];
  for (let index = 0; index < 80; index++) {
    await new Promise<void>((resolve, reject) => {
      const socket = connect(server.port, host, resolve).once("error", reject).once("close", () => ended.push(index));
      silent.push(socket);
    });
  }
  expect((await fetch(`http://${host}:${server.port}/healthz`)).status).toBe(200);
  await expect.poll(() => ended.length, { timeout: 10_000 }).toBeGreaterThanOrEqual(17);
  expect(ended.slice(0, 17).toSorted((a, b) => a - b), "the oldest made room").toEqual(Array.from({ length: 17 }, (_, index) => index));
  for (const socket of silent) socket.destroy();
});
