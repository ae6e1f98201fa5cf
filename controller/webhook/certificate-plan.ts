/**
 * What to do about the webhooks' certificates, given what is stored and what time it is: serve them, or make new ones. Pure.
 * The authority lives ten years and the server's certificate one; a certificate is renewed 90 days ahead of its end, and the
 * authority as soon as a certificate that it signs would outlive it. The authority before stays trusted until its own end,
 * so that a replica that still shows the former certificate is believed meanwhile.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { describeCertificate, isIssuedBy, type IssuedCertificate } from "../../kube/certificates.ts";

export const AUTHORITY_DAYS = 3650;
export const SERVER_DAYS = 365;
const DAY_MS = 24 * 60 * 60 * 1000;
const RENEW_BEFORE_MS = 90 * DAY_MS;
/** Authorities trusted at once: today's and the one before. */
const MAX_AUTHORITIES = 2;

/** What the Secret holds, in its own keys; all PEM. */
export interface StoredCertificates {
  /** Today's authority first, then the one before while it is valid. */
  readonly "ca.crt": string;
  readonly "ca.key": string;
  readonly "tls.crt": string;
  readonly "tls.key": string;
}

/** Certificates that can be served, and what to trust them by. */
export interface UsableCertificates {
  readonly serving: IssuedCertificate;
  /** PEM of all authorities to be trusted. */
  readonly authorities: string;
}

export type CertificatePlan =
  /** Good until `renewAtMs` (milliseconds since 1970). */
  | { readonly kind: "serve"; readonly usable: UsableCertificates; readonly renewAtMs: number }
  /** `usable` serves until the new ones are there, `authority` signs them; absent: a new one is made. */
  | { readonly kind: "renew"; readonly reason: string; readonly usable: UsableCertificates | undefined; readonly authority: IssuedCertificate | undefined; readonly formerAuthorities: string };

/** Judges what is stored. @param names that the server's certificate must bear. @param wallMs milliseconds since 1970. */
export function planCertificates(stored: StoredCertificates | undefined, names: readonly string[], wallMs: number): CertificatePlan {
  const renew = (reason: string, rest: { usable?: UsableCertificates; authority?: IssuedCertificate; formerAuthorities?: string } = {}): CertificatePlan => ({
    kind: "renew", reason, usable: rest.usable, authority: rest.authority, formerAuthorities: rest.formerAuthorities ?? "",
  });
  if (stored === undefined) return renew("there are none yet");
  const authorities = certificatesOf(stored["ca.crt"]).filter((pem) => isValidAt(pem, wallMs));
  const bundle = authorities.join("");
  const serving: IssuedCertificate = { certificatePem: stored["tls.crt"], privateKeyPem: stored["tls.key"] };
  const isUsable = hasItsKey(serving) && isValidAt(serving.certificatePem, wallMs) && authorities.some((authority) => isIssuedBy(serving.certificatePem, authority));
  const usable: UsableCertificates | undefined = isUsable && bearsNames(serving, names) ? { serving, authorities: bundle } : undefined;
  const signer: IssuedCertificate = { certificatePem: authorities[0] ?? "", privateKeyPem: stored["ca.key"] };
  const signs = authorities.length > 0 && hasItsKey(signer) && describeCertificate(signer.certificatePem).authority && endOf(signer) >= wallMs + SERVER_DAYS * DAY_MS;
  const next = { ...(usable === undefined ? {} : { usable }), formerAuthorities: bundle, ...(signs ? { authority: signer } : {}) };
  if (usable === undefined) return renew(isUsable ? `the certificate is not for ${names.join(", ")}` : "the certificate can't be used", next);
  const renewAtMs = endOf(serving) - RENEW_BEFORE_MS;
  return wallMs >= renewAtMs ? renew("the certificate ends soon", next) : { kind: "serve", usable, renewAtMs };
}

/** What to store after a renewal. */
export function storedAfter(options: { readonly authority: IssuedCertificate; readonly formerAuthorities: string; readonly serving: IssuedCertificate }): StoredCertificates {
  const { authority, formerAuthorities, serving } = options;
  const trusted = new Set([authority.certificatePem, ...certificatesOf(formerAuthorities)].map((pem) => `${pem.trim()}\n`));
  return {
    "ca.crt": [...trusted].slice(0, MAX_AUTHORITIES).join(""),
    "ca.key": authority.privateKeyPem,
    "tls.crt": serving.certificatePem,
    "tls.key": serving.privateKeyPem,
  };
}

function certificatesOf(pem: string): string[] {
  return [...pem.matchAll(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g)].map(([text]) => `${text}\n`);
}

function isValidAt(pem: string, wallMs: number): boolean {
  try {
    const { notBeforeMs, notAfterMs } = describeCertificate(pem);
    return notBeforeMs <= wallMs && wallMs < notAfterMs;
  } catch {
    return false;
  }
}

function hasItsKey({ certificatePem, privateKeyPem }: IssuedCertificate): boolean {
  try {
    return new X509Certificate(certificatePem).checkPrivateKey(createPrivateKey(privateKeyPem));
  } catch {
    return false;
  }
}

function bearsNames({ certificatePem }: IssuedCertificate, names: readonly string[]): boolean {
  const borne = describeCertificate(certificatePem).names;
  return names.every((name) => borne.includes(name));
}

function endOf({ certificatePem }: IssuedCertificate): number {
  return describeCertificate(certificatePem).notAfterMs;
}
