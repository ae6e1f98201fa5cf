import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { expect, test } from "vitest";
import { makeCertificate } from "./certificate-maker.ts";
import { describeCertificate, isIssuedBy, issueCertificate, issueServerCertificate, makeAuthority } from "./certificates.ts";

const wallMs = Date.UTC(2026, 5, 1);
const day = 24 * 60 * 60 * 1000;

test("an authority issues a server's certificate that says whom it is for, and until when", async () => {
  const authority = await makeAuthority({ commonName: "herald", organization: "metallb", wallMs, days: 3650 });
  expect(describeCertificate(authority.certificatePem)).toEqual({ commonName: "herald", names: [], authority: true, notBeforeMs: wallMs - day / 24, notAfterMs: wallMs + 3650 * day });
  assert.match(new X509Certificate(authority.certificatePem).subject, /O=metallb/);
  const names = ["webhook.metallb-system.svc", "localhost", "192.0.2.7", "2001:db8::7"] as const;
  const server = await issueServerCertificate({ names, wallMs, days: 365, authority });
  const facts = describeCertificate(server.certificatePem);
  expect(facts).toMatchObject({ commonName: names[0], authority: false, notAfterMs: wallMs + 365 * day });
  expect(facts.names).toEqual(["webhook.metallb-system.svc", "localhost", "192.0.2.7", "2001:DB8:0:0:0:0:0:7"]);
  const parsed = new X509Certificate(server.certificatePem);
  assert.equal(parsed.checkHost("localhost"), "localhost");
  assert.equal(parsed.checkIP("2001:db8::7"), "2001:db8::7");
  assert.ok(parsed.checkPrivateKey(createPrivateKey(server.privateKeyPem)));
  assert.ok(isIssuedBy(server.certificatePem, authority.certificatePem));
  const other = await makeAuthority({ commonName: "herald", organization: "metallb", wallMs, days: 3650 });
  assert.equal(isIssuedBy(server.certificatePem, other.certificatePem), false, "the same name, another key");
  assert.equal(isIssuedBy(server.certificatePem, server.certificatePem), false);
  assert.equal(isIssuedBy("nonsense", authority.certificatePem), false);
});

test("serial numbers differ: two certificates of one authority are two", async () => {
  const request = { subject: { commonName: "a" }, names: [], key: "ecdsa", role: "authority", notBeforeMs: wallMs, notAfterMs: wallMs + day } as const;
  const [one, two] = await Promise.all([makeCertificate(request), makeCertificate(request)]);
  assert.notEqual(new X509Certificate(one.certificatePem).serialNumber, new X509Certificate(two.certificatePem).serialNumber);
});

test("an authority with an RSA key in the older PEM form, as other programs leave it, issues too", async () => {
  const authority = await makeCertificate({ subject: { commonName: "cert" }, names: [], key: "rsa", role: "authority", notBeforeMs: wallMs, notAfterMs: wallMs + day });
  const pkcs1 = createPrivateKey(authority.privateKeyPem).export({ format: "pem", type: "pkcs1" }).toString();
  const issuer = { certificatePem: authority.certificatePem, privateKeyPem: pkcs1 };
  const server = await issueServerCertificate({ names: ["a.b.svc"], wallMs, days: 1, authority: issuer, key: "rsa" });
  assert.ok(isIssuedBy(server.certificatePem, authority.certificatePem));
  assert.equal(createPrivateKey(server.privateKeyPem).asymmetricKeyType, "rsa");
});

test("a certificate without its own key can't sign: the refusal says why, and shows no key", async () => {
  const request = { subject: { commonName: "a" }, names: [], key: "ecdsa", role: "authority", notBeforeMs: wallMs, notAfterMs: wallMs + day } as const;
  const [one, two] = await Promise.all([makeCertificate(request), makeCertificate(request)]);
  const mixed = { certificatePem: one.certificatePem, privateKeyPem: two.privateKeyPem };
  await expect(issueCertificate({ ...request, issuer: mixed })).rejects.toThrow("the issuer's key is not that of its certificate");
});

test("what is no certificate is not described", () => {
  assert.throws(() => describeCertificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
});
