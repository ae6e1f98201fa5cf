/**
 * The certificate that a server of ours shows: read from a folder (tls.crt, tls.key) again and again, since who renews it
 * replaces the files; or made by ourselves, where nobody gave one, and made anew before it ends.
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Clock, Timer } from "../sys/clock.ts";
import { readTextFileIfPresent } from "../sys/files.ts";
import type { Logger } from "../sys/log.ts";
import { describeCertificate, issueServerCertificate, type IssuedCertificate } from "./certificates.ts";

/** How often the files are read, or a certificate of our own is tried for; how often the end of one is looked at (milliseconds). */
const LOOK_MS = 10_000;
const OWN_LOOK_MS = 60 * 60 * 1000;
/** A certificate of our own is valid for so long, and made anew so long before its end. */
const OWN_DAYS = 365;
const RENEW_BEFORE_MS = 30 * 24 * 60 * 60 * 1000;

export interface ServingCertificateOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Folder with tls.crt and tls.key; "" for a certificate of our own. */
  readonly folder: string;
  /** Names of this program in a certificate of our own, and the kind of its key. */
  readonly names: readonly [string, ...string[]];
  readonly key: "ecdsa" | "rsa";
  /** Told of the certificate when there is one, and of each that takes its place. */
  readonly onCertificate: (certificate: IssuedCertificate) => void;
  /** Makes a certificate of our own; `issueServerCertificate` unless a test says otherwise. */
  readonly issue?: typeof issueServerCertificate;
}

export class ServingCertificate {
  readonly #options: ServingCertificateOptions;
  #current: IssuedCertificate | undefined;
  /** What was last complained about, so that it is said once. */
  #complaint: string | undefined;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(options: ServingCertificateOptions) {
    this.#options = options;
  }

  /** Looks for the first certificate, and keeps looking until `stop`. Resolves after the first look. Never rejects. */
  async start(): Promise<void> {
    const own = this.#options.folder === "";
    let nextMs = own ? OWN_LOOK_MS : LOOK_MS;
    try {
      if (own) await this.#ownLook();
      else this.#folderLook(this.#options.folder);
    } catch (error) {
      this.#complain(error instanceof Error ? error.message : String(error));
      nextMs = LOOK_MS;
    }
    if (!this.#stopped) this.#timer = this.#options.clock.after(nextMs, () => void this.start());
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #ownLook(): Promise<void> {
    const { clock, names, key, issue = issueServerCertificate } = this.#options;
    const wallMs = clock.wallMs();
    if (this.#current !== undefined && wallMs < describeCertificate(this.#current.certificatePem).notAfterMs - RENEW_BEFORE_MS) return;
    this.#take(await issue({ names, wallMs, days: OWN_DAYS, key }));
  }

  #folderLook(folder: string): void {
    const certificatePem = readNeeded(`${folder}/tls.crt`);
    const privateKeyPem = readNeeded(`${folder}/tls.key`);
    if (this.#current?.certificatePem === certificatePem && this.#current.privateKeyPem === privateKeyPem) {
      this.#complaint = undefined;
      return;
    }
    // Files replaced one after the other don't fit for a moment: the next look finds both.
    if (!new X509Certificate(certificatePem).checkPrivateKey(createPrivateKey(privateKeyPem))) throw new Error(`the key in ${folder}/tls.key is not that of tls.crt`);
    this.#take({ certificatePem, privateKeyPem });
  }

  #take(certificate: IssuedCertificate): void {
    if (this.#stopped) return;
    this.#current = certificate;
    this.#complaint = undefined;
    const { names, notAfterMs } = describeCertificate(certificate.certificatePem);
    this.#options.log.info("servingCertificate", { folder: this.#options.folder || "own", names, until: new Date(notAfterMs).toISOString() });
    this.#options.onCertificate(certificate);
  }

  #complain(reason: string): void {
    if (reason === this.#complaint) return;
    this.#complaint = reason;
    this.#options.log.error("servingCertificateUnusable", { folder: this.#options.folder || "own", reason, kept: this.#current !== undefined });
  }
}

function readNeeded(path: string): string {
  const text = readTextFileIfPresent(path);
  if (text === undefined) throw new Error(`${path} is not there`);
  return text;
}
