import assert from "node:assert/strict";
import { connect as connectHttp2 } from "node:http2";
import { request as httpsRequest } from "node:https";
import { connect, type TLSSocket } from "node:tls";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../sys/clock.ts";
import { makeCertificate } from "./certificate-maker.ts";
import { describeCertificate, type IssuedCertificate } from "./certificates.ts";
import { HttpRefusal, type JsonRoute, type JsonServer, type JsonServerOptions, MAX_BODIES_BYTES, MAX_BODY_BYTES, startJsonServer } from "./json-server.ts";

const HOST = "127.0.0.1";
let authority: IssuedCertificate;
let certificates: IssuedCertificate[] = [];
let server: JsonServer | undefined;

function issue(commonName: string, issuer?: IssuedCertificate): Promise<IssuedCertificate> {
  const times = { notBeforeMs: Date.UTC(2020), notAfterMs: Date.UTC(2100) };
  return makeCertificate({ subject: { commonName }, names: issuer === undefined ? [] : [HOST], key: "ecdsa", role: issuer === undefined ? "authority" : "server", ...times, ...(issuer === undefined ? {} : { issuer }) });
}

beforeAll(async () => {
  authority = await issue("authority");
  certificates = [await issue("first", authority), await issue("second", authority)];
});
afterEach(async () => {
  await server?.close();
  server = undefined;
});

function certificate(index: number): IssuedCertificate {
  const found = certificates[index];
  assert.ok(found !== undefined);
  return found;
}

async function start(routes: Record<string, JsonRoute>, rest: Partial<JsonServerOptions> = {}): Promise<JsonServer> {
  server = await startJsonServer({ host: HOST, port: 0, certificate: certificate(0), clock: systemClock, routes: new Map(Object.entries(routes)), ...rest });
  return server;
}

interface Sent {
  readonly path?: string;
  readonly method?: string;
  readonly type?: string;
  readonly body?: string | Buffer;
  /** Waits so long between the headers and the body. */
  readonly hold?: Promise<unknown>;
}

async function send({ path = "/", method = "POST", type = "application/json", body = "{}", hold }: Sent = {}): Promise<{ code: number; text: string }> {
  return new Promise((resolve, reject) => {
    const call = httpsRequest({ host: HOST, port: server?.port, path, method, ca: authority.certificatePem, headers: { "content-type": type, "content-length": Buffer.byteLength(body) } }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve({ code: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    });
    call.on("error", reject);
    call.flushHeaders();
    void (hold ?? Promise.resolve()).then(() => call.end(body));
  });
}

describe("the JSON server", () => {
  it("answers what a route says to what was sent", async () => {
    await start({ "/double": async (body) => ({ doubled: 2 * (body as { n: number }).n }) });
    expect(await send({ path: "/double?timeout=5s", body: '{"n":21}' })).toEqual({ code: 200, text: '{"doubled":42}' });
    expect(await send({ path: "/double", type: "application/json; charset=utf-8", body: '{"n":1}' })).toMatchObject({ code: 200 });
  });

  it.each<[Sent, number, string]>([
    [{ path: "/other" }, 404, "not found"],
    [{ method: "GET", body: "" }, 405, "only POST"],
    [{ type: "text/plain" }, 415, "content-type must be application/json"],
    [{ body: "{" }, 400, "the body is no JSON"],
    [{ body: "" }, 400, "the body is no JSON"],
    [{ path: "/refuse" }, 422, "not this"],
    [{ path: "/fail" }, 500, "broken"],
    [{ body: Buffer.alloc(MAX_BODY_BYTES + 1, " ") }, 413, "longer than"],
  ])("refuses in clear words: %o", async (sent, code, text) => {
    const told: string[] = [];
    const routes = {
      "/": () => ({}),
      "/refuse": () => {
        throw new HttpRefusal(422, "not this");
      },
      "/fail": () => Promise.reject(new Error("broken")),
    };
    await start(routes, { onError: (path) => void told.push(path) });
    expect(await send(sent)).toEqual({ code, text: expect.stringContaining(text) });
    assert.deepEqual(told, code === 500 ? ["/fail"] : []);
    expect(await send(), "and goes on").toMatchObject({ code: 200 });
  });

  it("holds no more bodies at once than fit, and takes further ones afterwards", async () => {
    const release = Promise.withResolvers<void>();
    let inside = 0;
    const wait: JsonRoute = async () => {
      inside++;
      await release.promise;
      return {};
    };
    await start({ "/": wait, "/next": () => ({}) });
    const body = JSON.stringify("x".repeat(MAX_BODY_BYTES - 2));
    const large = Array.from({ length: MAX_BODIES_BYTES / MAX_BODY_BYTES }, () => send({ body }));
    await expect.poll(() => inside, { timeout: 10_000 }).toBe(large.length);
    expect(await send({ path: "/next" })).toMatchObject({ code: 503 });
    release.resolve();
    await Promise.allSettled(large);
    expect(await send({ path: "/next" })).toMatchObject({ code: 200 });
  });

  it("counts back the bodies of clients that go away", async () => {
    await start({ "/": () => ({}) });
    const port = server?.port ?? 0;
    for (let client = 0; client < 4; client++) {
      const socket = await open(port);
      socket.write(`POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${MAX_BODY_BYTES}\r\n\r\n${"x".repeat(MAX_BODY_BYTES - 1)}`);
      await new Promise<void>((resolve) => void socket.once("drain", resolve));
      socket.destroy();
    }
    const body = JSON.stringify("x".repeat(MAX_BODY_BYTES - 2));
    await expect.poll(async () => (await send({ body })).code, { timeout: 10_000 }).toBe(200);
  });

  it.each([false, true])("lets go of clients that are slow to ask, soon after their time; HTTP/2 offered: %s", async (http2) => {
    await start({ "/": () => ({}) }, { requestMs: 100, http2 });
    const letGo = async (begin: string): Promise<void> => {
      const socket = await open(server?.port ?? 0);
      const closed = new Promise<void>((resolve) => void socket.on("error", () => socket.destroy()).once("close", () => resolve()));
      socket.resume().write(begin);
      await closed;
    };
    await Promise.all([letGo("POST / HTTP/1.1\r\nhost: x\r\nx-slow: "), letGo("POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")]);
  });

  it("shows a new certificate to whoever comes next, and cuts nobody off", async () => {
    await start({ "/": () => ({}) });
    const early = await open(server?.port ?? 0);
    assert.equal(shown(early), "first");
    server?.setCertificate(certificate(1));
    const late = await open(server?.port ?? 0);
    assert.equal(shown(late), "second");
    early.write("POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}");
    const answer = await new Promise<Buffer>((resolve) => void early.once("data", resolve));
    assert.match(answer.toString(), /^HTTP\/1.1 200/);
    assert.throws(() => server?.setCertificate({ certificatePem: "nonsense", privateKeyPem: "nonsense" }));
    assert.equal(shown(await open(server?.port ?? 0)), "second");
    early.destroy();
    late.destroy();
  });

  it("speaks HTTP/2 only when asked to, and HTTP/1.1 in any case", async () => {
    await start({ "/": (body) => ({ got: body }) });
    assert.equal((await open(server?.port ?? 0, ["h2", "http/1.1"])).alpnProtocol, "http/1.1");
    await server?.close();
    await start({ "/": (body) => ({ got: body }) }, { http2: true });
    expect(await send({ body: "[1]" })).toEqual({ code: 200, text: '{"got":[1]}' });
    const session = connectHttp2(`https://${HOST}:${server?.port}`, { ca: authority.certificatePem });
    const stream = session.request({ ":method": "POST", ":path": "/", "content-type": "application/json" });
    stream.end("[2]");
    let text = "";
    for await (const chunk of stream as AsyncIterable<Buffer>) text += chunk.toString();
    assert.equal(text, '{"got":[2]}');
    session.close();
  });

  it("lets go of who is slow to send a body over HTTP/2, too", async () => {
    const told: unknown[] = [];
    await start({ "/": () => ({}) }, { http2: true, requestMs: 100, onError: (_, error) => void told.push(error) });
    const session = connectHttp2(`https://${HOST}:${server?.port}`, { ca: authority.certificatePem });
    const stream = session.request({ ":method": "POST", ":path": "/", "content-type": "application/json" });
    stream.on("error", () => undefined).write("[");
    await new Promise((resolve) => void stream.once("close", resolve));
    const next = session.request({ ":method": "POST", ":path": "/", "content-type": "application/json" });
    next.end("[2]");
    let text = "";
    for await (const chunk of next as AsyncIterable<Buffer>) text += chunk.toString();
    assert.equal(text, "{}", "the session goes on");
    assert.deepEqual(told, []);
    session.close();
  });

  it("keeps to the TLS version that is asked for", async () => {
    const settings = { minVersion: "TLSv1.3", ciphers: "TLS_AES_128_GCM_SHA256", ecdhCurve: "X25519" } as const;
    await start({ "/": () => ({}) }, { tls: settings });
    await expect(open(server?.port ?? 0, undefined, "TLSv1.2")).rejects.toThrow(/protocol version/);
    const socket = await open(server?.port ?? 0);
    assert.equal(socket.getCipher().standardName, "TLS_AES_128_GCM_SHA256");
    socket.destroy();
  });

  it("says which port it can't have", async () => {
    const { port } = await start({});
    await expect(startJsonServer({ host: HOST, port, certificate: certificate(0), clock: systemClock, routes: new Map() })).rejects.toThrow(`Cannot serve webhooks on port ${port}`);
  });
});

function open(port: number, ALPNProtocols?: string[], maxVersion?: "TLSv1.2"): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: HOST, port, ca: authority.certificatePem, ...(ALPNProtocols === undefined ? {} : { ALPNProtocols }), ...(maxVersion === undefined ? {} : { maxVersion }) }, () => resolve(socket));
    socket.once("error", reject);
  });
}

function shown(socket: TLSSocket): string | undefined {
  return describeCertificate(socket.getPeerX509Certificate()?.toString() ?? "").commonName;
}
