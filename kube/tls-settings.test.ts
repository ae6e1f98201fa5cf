import assert from "node:assert/strict";
import { createSecureContext } from "node:tls";
import { test } from "vitest";
import { parseTlsSettings, type TlsSettings } from "./tls-settings.ts";

function settings(minVersion = "", cipherSuites = "", curvePreferences = ""): TlsSettings {
  const parsed = parseTlsSettings({ minVersion, cipherSuites, curvePreferences });
  assert.equal(parsed.kind, "settings", JSON.stringify(parsed));
  return parsed.settings;
}

function problem(minVersion: string, cipherSuites = "", curvePreferences = ""): string {
  const parsed = parseTlsSettings({ minVersion, cipherSuites, curvePreferences });
  assert.equal(parsed.kind, "error");
  return parsed.message;
}

test("TLS 1.3 is the least by default, and OpenSSL takes every setting that is accepted", () => {
  assert.equal(settings().minVersion, "TLSv1.3");
  const suites = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_AES_256_GCM_SHA384"];
  for (const accepted of [settings(), settings("VersionTLS13"), settings("VersionTLS12"), settings("VersionTLS12", suites.join(",")), settings("", "", "23, 24,25,29,4587,4588,4589"), settings("", "", "X25519,CurveP256,secp384r1")]) {
    const { minVersion, ciphers, ecdhCurve } = accepted;
    createSecureContext({ minVersion, ciphers, ecdhCurve });
  }
});

test("suites are those asked for, besides TLS 1.3's own, which can't be chosen", () => {
  const { ciphers } = settings("VersionTLS12", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256");
  assert.equal(ciphers, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:ECDHE-RSA-AES128-GCM-SHA256");
  assert.doesNotMatch(settings("VersionTLS12").ciphers, /CBC|-SHA$|(^|:)AES/);
});

test("only RSA's suites want an RSA key for a certificate of our own", () => {
  assert.equal(settings("VersionTLS12", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256").key, "rsa");
  assert.equal(settings("VersionTLS12", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256").key, "ecdsa");
  assert.equal(settings("VersionTLS12").key, "ecdsa");
});

test("what is refused is refused by the flag's name", () => {
  assert.match(problem("VersionTLS11"), /^--tls-min-version: "VersionTLS11" is none of/);
  assert.match(problem("VersionTLS13", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), /^--tls-cipher-suites: .*TLS 1\.2 only/);
  assert.match(problem("", "TLS_AES_128_GCM_SHA256"), /^--tls-cipher-suites: .*TLS 1\.2 only/);
  assert.match(problem("VersionTLS12", "TLS_RSA_WITH_RC4_128_SHA"), /^--tls-cipher-suites: "TLS_RSA_WITH_RC4_128_SHA" is none of TLS_/);
  assert.match(problem("", "", "29,29"), /^--tls-curve-preferences: "29" is there twice/);
  assert.match(problem("", "", "30"), /^--tls-curve-preferences: "30" is none of 23/);
  assert.match(problem("", "", "23,"), /^--tls-curve-preferences: "" is none of/);
});
