/**
 * Keeps the webhooks' certificates in a Secret that all replicas share: made when there are none, renewed ahead of their end,
 * and taken over from whichever replica was faster. Nothing needs a restart.
 */
import { issueServerCertificate, makeAuthority } from "../../kube/certificates.ts";
import { KubeError, type KubeClient } from "../../kube/client.ts";
import { type Secret, secrets } from "../../kube/objects.ts";
import { type Clock, sleep } from "../../sys/clock.ts";
import type { Logger } from "../../sys/log.ts";
import { AUTHORITY_DAYS, planCertificates, SERVER_DAYS, storedAfter, type StoredCertificates, type UsableCertificates } from "./certificate-plan.ts";

/** Time between two looks at the Secret (milliseconds): another replica, or an administrator, may have written it. */
const LOOK_MS = 60_000;
/** Waits after a failure: doubling from the first to the last (milliseconds). */
const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 30_000;
/** What MetalLB's authority is called, and ours. */
const AUTHORITY_NAME = { commonName: "cert", organization: "metallb" };

/** Makes certificates; tests have one that takes no time. */
export interface CertificateMaker {
  readonly makeAuthority: typeof makeAuthority;
  readonly issueServerCertificate: typeof issueServerCertificate;
}

export interface CertificateKeeperOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  readonly namespace: string;
  readonly secretName: string;
  /** Names that the server's certificate bears. */
  readonly names: readonly [string, ...string[]];
  readonly key: "ecdsa" | "rsa";
  readonly maker?: CertificateMaker;
  /** Told of what to serve, and of everything that takes its place. What it throws is logged and tried again. */
  readonly onCertificates: (usable: UsableCertificates) => Promise<void>;
}

export class CertificateKeeper {
  readonly #options: CertificateKeeperOptions;
  readonly #maker: CertificateMaker;
  readonly #stopping = new AbortController();
  /** What onCertificates has taken. */
  #taken: string | undefined;

  constructor(options: CertificateKeeperOptions) {
    this.#options = options;
    this.#maker = options.maker ?? { makeAuthority, issueServerCertificate };
  }

  /** Looks, again and again, until `stop`. Never rejects. */
  async run(): Promise<void> {
    const { clock, log, secretName } = this.#options;
    const { signal } = this.#stopping;
    for (let retryMs = FIRST_RETRY_MS; !signal.aborted; ) {
      let waitMs = LOOK_MS;
      try {
        await this.#look();
        retryMs = FIRST_RETRY_MS;
      } catch (error) {
        waitMs = retryMs;
        retryMs = Math.min(2 * retryMs, MAX_RETRY_MS);
        // Two replicas that write at once are no failure: one of them reads what the other wrote.
        if (isConflict(error)) log.info("webhookCertificateWrittenByAnother", { secret: secretName });
        else if (!signal.aborted) log.warn("webhookCertificateDelayed", { secret: secretName, error });
      }
      await sleep(clock, waitMs, signal);
    }
  }

  stop(): void {
    this.#stopping.abort();
  }

  /** @throws KubeError, or what making certificates throws. */
  async #look(): Promise<void> {
    const { client, clock, log, namespace, secretName, names } = this.#options;
    const secret = await this.#read();
    const plan = planCertificates(secret === undefined ? undefined : decode(secret), names, clock.wallMs());
    if (plan.kind === "serve") return this.#take(plan.usable);
    // A renewal that fails, for want of rights perhaps, must not keep a good certificate from being served.
    if (plan.usable !== undefined) await this.#take(plan.usable);
    const authority = plan.authority ?? (await this.#maker.makeAuthority({ ...AUTHORITY_NAME, wallMs: clock.wallMs(), days: AUTHORITY_DAYS }));
    const serving = await this.#maker.issueServerCertificate({ names, wallMs: clock.wallMs(), days: SERVER_DAYS, authority, key: this.#options.key });
    const stored = storedAfter({ authority, formerAuthorities: plan.formerAuthorities, serving });
    if (this.#stopping.signal.aborted) return;
    if (secret === undefined) await client.create(secrets, { metadata: { namespace, name: secretName }, type: "Opaque", data: encode(stored) });
    else await client.patch(secrets, { namespace, name: secretName }, { metadata: { resourceVersion: secret.metadata.resourceVersion }, data: encode(stored) });
    log.info("webhookCertificateMade", { secret: secretName, names, reason: plan.reason, newAuthority: plan.authority === undefined });
    await this.#take({ serving, authorities: stored["ca.crt"] });
  }

  async #read(): Promise<Secret | undefined> {
    const { client, namespace, secretName } = this.#options;
    try {
      return await client.get(secrets, { namespace, name: secretName });
    } catch (error) {
      if (error instanceof KubeError && error.code === 404) return undefined;
      throw error;
    }
  }

  async #take(usable: UsableCertificates): Promise<void> {
    const text = JSON.stringify(usable);
    if (text === this.#taken || this.#stopping.signal.aborted) return;
    await this.#options.onCertificates(usable);
    this.#taken = text;
  }
}

function isConflict(error: unknown): boolean {
  return error instanceof KubeError && error.code === 409;
}

/** undefined when a part is missing, as in the empty Secret that an installation brings along. */
function decode({ data = {} }: Secret): StoredCertificates | undefined {
  const text = (key: string): string => Buffer.from(data[key] ?? "", "base64").toString("utf8");
  const stored = { "ca.crt": text("ca.crt"), "ca.key": text("ca.key"), "tls.crt": text("tls.crt"), "tls.key": text("tls.key") };
  return Object.values(stored).every((part) => part === "") ? undefined : stored;
}

function encode(stored: StoredCertificates): Record<string, string> {
  return Object.fromEntries(Object.entries(stored).map(([key, text]) => [key, Buffer.from(text).toString("base64")]));
}

