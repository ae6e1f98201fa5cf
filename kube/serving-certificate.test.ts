import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "vitest";
import { FakeClock } from "../sys/fake-clock.ts";
import type { LogFields, Logger } from "../sys/log.ts";
import { makeCertificate } from "./certificate-maker.ts";
import type { IssuedCertificate } from "./certificates.ts";
import { ServingCertificate } from "./serving-certificate.ts";

const day = 24 * 60 * 60 * 1000;
let folder = "";
let clock = new FakeClock();
let shown: IssuedCertificate[] = [];
let lines: [string, LogFields | undefined][] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "herald-certificate-"));
  clock = new FakeClock();
  shown = [];
  lines = [];
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function serving(options: Partial<ConstructorParameters<typeof ServingCertificate>[0]> = {}): ServingCertificate {
  const log: Logger = { debug() {}, info: (...line) => void lines.push(line as [string, LogFields]), warn() {}, error: (...line) => void lines.push(line as [string, LogFields]) };
  return new ServingCertificate({ clock, log, folder, names: ["a"], key: "ecdsa", onCertificate: (certificate) => void shown.push(certificate), ...options });
}

function make(name: string, wallMs = clock.wallMs(), days = 30): Promise<IssuedCertificate> {
  return makeCertificate({ subject: { commonName: name }, names: [name], key: "ecdsa", role: "server", notBeforeMs: wallMs, notAfterMs: wallMs + days * day });
}

function put({ certificatePem, privateKeyPem }: IssuedCertificate): void {
  writeFileSync(join(folder, "tls.crt"), certificatePem);
  writeFileSync(join(folder, "tls.key"), privateKeyPem);
}

test("files that are replaced take effect within ten seconds, those that are not are left alone", async () => {
  const [first, second] = await Promise.all([make("first"), make("second")]);
  put(first);
  const certificate = serving();
  await certificate.start();
  assert.deepEqual(shown, [first]);
  await clock.advance(30_000);
  assert.equal(shown.length, 1);
  put(second);
  await clock.advance(10_000);
  assert.deepEqual(shown, [first, second]);
  certificate.stop();
  put(first);
  await clock.advance(60_000);
  assert.equal(shown.length, 2);
  assert.equal(clock.timers, 0);
});

test("a pair that does not fit, or is gone, is said once, and the good one stays", async () => {
  const [first, second] = await Promise.all([make("first"), make("second")]);
  put(first);
  const certificate = serving();
  await certificate.start();
  put({ certificatePem: second.certificatePem, privateKeyPem: first.privateKeyPem });
  await clock.advance(60_000);
  writeFileSync(join(folder, "tls.crt"), "nonsense");
  await clock.advance(10_000);
  rmSync(join(folder, "tls.key"));
  await clock.advance(10_000);
  assert.deepEqual(shown, [first]);
  const complaints = lines.filter(([event]) => event === "servingCertificateUnusable").map(([, fields]) => String(fields?.["reason"]));
  assert.equal(complaints.length, 3, JSON.stringify(complaints));
  assert.match(complaints[0] ?? "", /tls\.key is not that of tls\.crt$/);
  assert.match(complaints[2] ?? "", /tls\.key is not there$/);
  assert.ok(lines.every((line) => !JSON.stringify(line).includes("PRIVATE")));
  put(second);
  await clock.advance(10_000);
  assert.deepEqual(shown, [first, second]);
  certificate.stop();
});

test("a certificate that comes later is taken when it comes", async () => {
  const certificate = serving();
  await certificate.start();
  assert.deepEqual(shown, []);
  const first = await make("first");
  put(first);
  await clock.advance(10_000);
  assert.deepEqual(shown, [first]);
  certificate.stop();
});

test("without a folder it makes its own, and another a month before the end; a failure is tried again", async () => {
  const pairs = await Promise.all([make("a", clock.wallMs(), 365), make("a", clock.wallMs() + 335 * day, 365)]);
  const asked: unknown[] = [];
  const issue = async (options: { names: readonly string[]; key?: string }): Promise<IssuedCertificate> => {
    asked.push([options.names, options.key]);
    const pair = asked.length === 1 ? undefined : pairs.shift();
    if (pair === undefined) throw new Error("no process can be started");
    return pair;
  };
  const [first, second] = pairs;
  const certificate = serving({ folder: "", names: ["controller-abc", "localhost"], key: "rsa", issue });
  await certificate.start();
  assert.deepEqual(shown, []);
  await clock.advance(10_000);
  assert.deepEqual(shown, [first]);
  assert.deepEqual(asked, [[["controller-abc", "localhost"], "rsa"], [["controller-abc", "localhost"], "rsa"]]);
  await clock.advance(334 * day);
  assert.equal(shown.length, 1);
  await clock.advance(2 * day);
  assert.deepEqual(shown, [first, second]);
  certificate.stop();
});
