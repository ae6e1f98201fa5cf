/**
 * X.509 certificates: making an authority and servers' certificates, and reading what is in one.
 * The library that makes them would cost each program 15 MB of resident memory for good; a child process needs it for
 * 0.15 s and gives everything back. Reading is Node's own.
 */
import { X509Certificate } from "node:crypto";
import { runNodeProgram } from "../sys/child-process.ts";

/** A certificate and its private key, both PEM. */
export interface IssuedCertificate {
  readonly certificatePem: string;
  /** PKCS #8, not encrypted. A secret: never logged. */
  readonly privateKeyPem: string;
}

export interface CertificateRequest {
  readonly subject: { readonly commonName: string; readonly organization?: string };
  /** Subject alternative names: DNS names and IP addresses as text. */
  readonly names: readonly string[];
  /** ECDSA on P-256, or RSA of 2,048 bits. */
  readonly key: "ecdsa" | "rsa";
  /** An authority may sign certificates; a server may be a server. */
  readonly role: "authority" | "server";
  /** Milliseconds since 1970; certificates know whole seconds. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Who signs; absent: the certificate signs itself. */
  readonly issuer?: IssuedCertificate;
}

/** Making a key and a certificate takes 0.15 s on an idle machine. */
const makeTimeoutMs = 30_000;
/** A clock that is a little behind must not find the certificate not yet valid. */
const backdatedMs = 60 * 60 * 1000;
const dayMs = 24 * 60 * 60 * 1000;

/** Makes a key and a certificate as asked. @throws Error when the issuer's PEM is none, or no process can be started */
export async function issueCertificate(request: CertificateRequest): Promise<IssuedCertificate> {
  const text = await runNodeProgram({ entry: programEntry(), input: JSON.stringify(request), timeoutMs: makeTimeoutMs });
  // certificate-program.ts writes exactly this.
  return JSON.parse(text) as IssuedCertificate;
}

/** A certificate authority of its own, valid for `days` from now. @throws Error when no process can be started */
export function makeAuthority(options: { readonly commonName: string; readonly organization?: string; readonly wallMs: number; readonly days: number }): Promise<IssuedCertificate> {
  const { commonName, organization, wallMs, days } = options;
  const subject = organization === undefined ? { commonName } : { commonName, organization };
  return issueCertificate({ subject, names: [], key: "ecdsa", role: "authority", notBeforeMs: wallMs - backdatedMs, notAfterMs: wallMs + days * dayMs });
}

/** A server's certificate for these names, valid for `days` from now; the first name is its common name as well. @throws Error when the authority's PEM is none */
export function issueServerCertificate(options: {
  readonly names: readonly [string, ...string[]];
  readonly wallMs: number;
  readonly days: number;
  /** Absent: the certificate signs itself. */
  readonly authority?: IssuedCertificate;
  /** ECDSA by default. */
  readonly key?: "ecdsa" | "rsa";
}): Promise<IssuedCertificate> {
  const { names, wallMs, days, authority, key = "ecdsa" } = options;
  const issuer = authority === undefined ? {} : { issuer: authority };
  return issueCertificate({ subject: { commonName: names[0] }, names, key, role: "server", notBeforeMs: wallMs - backdatedMs, notAfterMs: wallMs + days * dayMs, ...issuer });
}

/** What a certificate says of itself. */
export interface CertificateFacts {
  readonly commonName: string | undefined;
  /** Subject alternative names, without their types. */
  readonly names: readonly string[];
  readonly authority: boolean;
  /** Milliseconds since 1970. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Reads the first certificate of a PEM text. @throws Error when there is none */
export function describeCertificate(pem: string): CertificateFacts {
  const certificate = new X509Certificate(pem);
  return {
    commonName: /^CN=(.*)$/m.exec(certificate.subject)?.[1],
    names: [...(certificate.subjectAltName ?? "").matchAll(/(?:DNS|IP Address):([^,\s]+)/g)].map(([, name = ""]) => name),
    authority: certificate.ca,
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
  };
}

/** Whether `certificatePem` is signed by the key of `authorityPem`, and names it as its issuer. False when either is no certificate. */
export function isIssuedBy(certificatePem: string, authorityPem: string): boolean {
  try {
    const certificate = new X509Certificate(certificatePem);
    const authority = new X509Certificate(authorityPem);
    return authority.ca && certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
  } catch {
    return false;
  }
}

/** The source runs the source beside it, a bundle the bundle beside it. */
function programEntry(): URL {
  return new URL(import.meta.url.endsWith(".mjs") ? "./certificate-program.mjs" : "./certificate-program.ts", import.meta.url);
}
