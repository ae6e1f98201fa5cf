/**
 * The webhooks of one replica: an HTTPS server for admission and conversion, its certificate, and its registration with the
 * API server. Every replica serves; none needs to lead. Loaded only where webhooks are on.
 */
import type { IssuedCertificate } from "../../kube/certificates.ts";
import type { KubeClient } from "../../kube/client.ts";
import { HttpRefusal, type JsonRoute, type JsonServer, startJsonServer } from "../../kube/json-server.ts";
import { type KubeObject, nodes } from "../../kube/objects.ts";
import { ServingCertificate } from "../../kube/serving-certificate.ts";
import type { TlsSettings } from "../../kube/tls-settings.ts";
import { type Clock, sleep } from "../../sys/clock.ts";
import type { Logger } from "../../sys/log.ts";
import { ConversionError, convertBgpPeer } from "./bgp-peer-conversion.ts";
import { CertificateKeeper, type CertificateMaker } from "./certificate-keeper.ts";
import { registerConversion, type RegistrationResult, registerWebhooks } from "./registration.ts";
import { decodeAdmissionReview, decodeConversionReview, encodeAdmissionReview, encodeConversionReview, ReviewError } from "./review.ts";
import { type ExistingObjects, judge, validations } from "./validation.ts";

/** Port of the server, MetalLB's. */
export const WEBHOOK_PORT = 9443;
/** Path of conversion. */
export const CONVERSION_PATH = "/convert";
/** Time between two looks at the registrations (milliseconds): somebody may have reset them. Shorter at first, while an installation is under way. */
const LOOK_MS = 60_000;
const FIRST_LOOK_MS = 1_000;

export interface WebhooksOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly log: Logger;
  /** Herald's own. */
  readonly namespace: string;
  /** The Service that leads to the replicas. */
  readonly serviceName: string;
  readonly secretName: string;
  /** Folder of a certificate that others look after; absent: the Secret's is used and looked after. */
  readonly certificateFolder?: string;
  /** All addresses of the machine when absent; for tests. */
  readonly host?: string;
  /** WEBHOOK_PORT unless a test says otherwise. */
  readonly port?: number;
  /** Names for the certificate beside the Service's; for tests. */
  readonly extraNames?: readonly string[];
  readonly http2: boolean;
  readonly tls?: TlsSettings;
  readonly maker?: CertificateMaker;
}

export class Webhooks {
  readonly #options: WebhooksOptions;
  readonly #stopping = new AbortController();
  readonly #keeper: CertificateKeeper | undefined;
  readonly #serving: ServingCertificate | undefined;
  #server: JsonServer | undefined;
  /** What the API server shall trust; undefined until we serve by it. */
  #authorities: string | undefined;
  /** What was said last about each registration, so that it is said once. */
  readonly #said = new Map<string, string>();
  /** The last certificate of a folder. */
  #newest: IssuedCertificate | undefined;
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: WebhooksOptions) {
    this.#options = options;
    const { client, clock, log, namespace, secretName, serviceName, certificateFolder, tls, maker } = options;
    const names = [`${serviceName}.${namespace}.svc`, ...(options.extraNames ?? [])] as const;
    const key = tls?.key ?? "ecdsa";
    if (certificateFolder !== undefined) {
      const onCertificate = (certificate: IssuedCertificate): void => void this.#keepTrying(certificate);
      this.#serving = new ServingCertificate({ clock, log, folder: certificateFolder, names, key, onCertificate });
      return;
    }
    this.#keeper = new CertificateKeeper({
      client, clock, log, namespace, secretName, names, key, ...(maker === undefined ? {} : { maker }),
      onCertificates: async ({ serving, authorities }) => {
        this.#authorities = authorities;
        // Callers must know a new authority before its certificate is shown; as long as there is no server there is nobody to be called.
        if (this.#server !== undefined) await this.register();
        await this.#serve(serving);
        await this.register();
      },
    });
  }

  /** Starts; the port opens as soon as there is a certificate. Call once. */
  start(): void {
    if (this.#serving !== undefined) this.#running = this.#serving.start();
    if (this.#keeper !== undefined) this.#running = Promise.all([this.#keeper.run(), this.#keepRegistered()]);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#keeper?.stop();
    this.#serving?.stop();
    await this.#running;
    await this.#server?.close();
  }

  /** The port that is open; undefined while there is no certificate. */
  get port(): number | undefined {
    return this.#server?.port;
  }

  /** Serves by the newest certificate of the folder as soon as the port can be had. Never rejects. */
  async #keepTrying(certificate: IssuedCertificate): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#stopping;
    this.#newest = certificate;
    let said: string | undefined;
    for (let waitMs = FIRST_LOOK_MS; !signal.aborted && this.#newest === certificate; waitMs = Math.min(2 * waitMs, LOOK_MS)) {
      try {
        return await this.#serve(certificate);
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        if (text !== said) log.error("webhooksNotServed", { error });
        said = text;
      }
      await sleep(clock, waitMs, signal);
    }
  }

  async #serve(certificate: IssuedCertificate): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    if (this.#server !== undefined) {
      this.#server.setCertificate(certificate);
      return;
    }
    const { clock, log, host, port = WEBHOOK_PORT, http2, tls } = this.#options;
    this.#server = await startJsonServer({
      port, http2, certificate, clock,
      ...(host === undefined ? {} : { host }),
      ...(tls === undefined ? {} : { tls }),
      routes: webhookRoutes(this.#options),
      onError: (path, error) => log.warn("webhookFailed", { path, error }),
    });
    log.info("webhooksServed", { port: this.#server.port });
  }

  async #keepRegistered(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stopping;
    for (let waitMs = FIRST_LOOK_MS; !signal.aborted; waitMs = Math.min(2 * waitMs, LOOK_MS)) {
      await sleep(clock, waitMs, signal);
      await this.register();
    }
  }

  /** Looks at the registrations now and mends them, once there is something to serve. Never rejects. */
  async register(): Promise<void> {
    const { client, namespace, serviceName } = this.#options;
    if (this.#authorities === undefined || this.#stopping.signal.aborted) return;
    const registration = { client, service: { namespace, name: serviceName }, authorities: this.#authorities };
    await this.#attempt("webhooks", () => registerWebhooks(registration));
    await this.#attempt("conversion", () => registerConversion(registration));
  }

  async #attempt(what: string, register: () => Promise<RegistrationResult>): Promise<void> {
    const { log } = this.#options;
    try {
      const result = await register();
      if (result === "written") log.info("webhookRegistered", { what });
      if (result !== this.#said.get(what) && (result === "missing" || result === "foreign")) log.info("webhookNotRegistered", { what, why: result });
      this.#said.set(what, result);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      if (this.#said.get(what) !== text) log.warn("webhookRegistrationFailed", { what, error });
      this.#said.set(what, text);
    }
  }
}

/** What the server answers, by path. @throws HttpRefusal 400 for what can't be understood. */
export function webhookRoutes({ client, namespace }: Pick<WebhooksOptions, "client" | "namespace">): ReadonlyMap<string, JsonRoute> {
  const existing: ExistingObjects = {
    list: async (type) => (await client.list(type, { namespace })).items,
    nodes: async () => (await client.list(nodes, { transform: labelsOnly })).items.map(({ metadata }) => metadata.labels),
  };
  const routes = new Map<string, JsonRoute>([[CONVERSION_PATH, convert]]);
  for (const [path, validation] of validations) {
    routes.set(path, async (body) => {
      const request = understood(() => decodeAdmissionReview(body));
      return encodeAdmissionReview(request, await judge(validation, request, { namespace, existing }));
    });
  }
  return routes;
}

function convert(body: unknown): object {
  const request = understood(() => decodeConversionReview(body));
  try {
    return encodeConversionReview(request, { objects: request.objects.map((object) => convertBgpPeer(object, request.desiredApiVersion)) });
  } catch (error) {
    if (!(error instanceof ConversionError)) throw error;
    return encodeConversionReview(request, { failure: error.message });
  }
}

function understood<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (error instanceof ReviewError) throw new HttpRefusal(400, error.message);
    throw error;
  }
}

function labelsOnly({ metadata: { name, labels } }: KubeObject): KubeObject {
  return { metadata: { name, ...(labels === undefined ? {} : { labels }) } };
}
