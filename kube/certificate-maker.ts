/**
 * Makes X.509 certificates (RFC 5280). Loads a library of half a megabyte, which is why `certificates.ts` lets a child process do it.
 */
import "reflect-metadata/lite";
import { createPrivateKey, type KeyObject, type webcrypto, X509Certificate as ParsedCertificate } from "node:crypto";
import { isIP } from "node:net";
import * as x509 from "@peculiar/x509";
import type { CertificateRequest, IssuedCertificate } from "./certificates.ts";

const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const RSA = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) } as const;

interface Signer {
  readonly key: webcrypto.CryptoKey;
  readonly algorithm: typeof ECDSA | typeof RSA;
}

/** Makes a key and its certificate, signed by `request.issuer`, or by itself. @throws Error when the issuer's PEM is none */
export async function makeCertificate(request: CertificateRequest): Promise<IssuedCertificate> {
  const algorithm = request.key === "rsa" ? RSA : ECDSA;
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const signer = request.issuer === undefined ? { key: keys.privateKey, algorithm } : await signerOf(request.issuer);
  const issuer = request.issuer === undefined ? undefined : new x509.X509Certificate(request.issuer.certificatePem);
  const subject = nameOf(request.subject);
  const certificate = await x509.X509CertificateGenerator.create({
    subject,
    issuer: issuer === undefined ? subject : issuer.subjectName,
    notBefore: new Date(request.notBeforeMs),
    notAfter: new Date(request.notAfterMs),
    publicKey: keys.publicKey,
    signingKey: signer.key,
    signingAlgorithm: signer.algorithm,
    extensions: await extensionsOf(request, { own: keys.publicKey, issuer }),
  });
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
  return { certificatePem: `${certificate.toString("pem")}\n`, privateKeyPem: `${x509.PemConverter.encode(pkcs8, "PRIVATE KEY")}\n` };
}

function nameOf({ commonName, organization }: CertificateRequest["subject"]): x509.Name {
  return new x509.Name([...(organization === undefined ? [] : [{ O: [organization] }]), { CN: [commonName] }]);
}

/** RFC 5280 §4.2.1: what a verifier looks at, for an authority and for a server. */
async function extensionsOf(request: CertificateRequest, keys: { own: webcrypto.CryptoKey; issuer: x509.X509Certificate | undefined }): Promise<x509.Extension[]> {
  const authority = request.role === "authority";
  const { keyCertSign, cRLSign, digitalSignature, keyEncipherment } = x509.KeyUsageFlags;
  const extensions: x509.Extension[] = [
    new x509.BasicConstraintsExtension(authority, undefined, true),
    new x509.KeyUsagesExtension(authority ? keyCertSign | cRLSign | digitalSignature : digitalSignature | (request.key === "rsa" ? keyEncipherment : 0), true),
    await x509.SubjectKeyIdentifierExtension.create(keys.own),
  ];
  if (!authority) extensions.push(new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]));
  if (keys.issuer !== undefined) extensions.push(await x509.AuthorityKeyIdentifierExtension.create(keys.issuer.publicKey));
  const names = request.names.map((value) => ({ type: isIP(value) === 0 ? "dns" : "ip", value }) as const);
  if (names.length > 0) extensions.push(new x509.SubjectAlternativeNameExtension(names));
  return extensions;
}

/** PKCS #8 and the older PEM forms of RSA and P-256 keys are understood. */
async function signerOf(issuer: IssuedCertificate): Promise<Signer> {
  const key: KeyObject = createPrivateKey(issuer.privateKeyPem);
  if (!new ParsedCertificate(issuer.certificatePem).checkPrivateKey(key)) throw new Error("the issuer's key is not that of its certificate");
  const algorithm = key.asymmetricKeyType === "rsa" ? RSA : ECDSA;
  if (algorithm === ECDSA && key.asymmetricKeyDetails?.namedCurve !== "prime256v1") throw new Error("the issuer's key is neither RSA nor P-256");
  const pkcs8 = key.export({ format: "der", type: "pkcs8" });
  return { key: await crypto.subtle.importKey("pkcs8", new Uint8Array(pkcs8), algorithm, false, ["sign"]), algorithm };
}
