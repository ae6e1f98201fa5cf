/**
 * Tells the API server by which authorities it can trust the webhooks: the CA bundle in the ValidatingWebhookConfiguration, and
 * in the definition of BGPPeers where that converts by webhook. Nothing else of those objects is changed, and nothing is
 * written that is there already.
 */
import { KubeError, type KubeClient } from "../../kube/client.ts";
import { customResourceDefinitions, validatingWebhookConfigurations, type WebhookClientConfig } from "../../kube/registrations.ts";

/** Name of the configuration, MetalLB's. */
export const WEBHOOK_CONFIGURATION = "metallb-webhook-configuration";
/** The definition that may convert by webhook. */
export const CONVERTED_DEFINITION = "bgppeers.metallb.io";
const FIELD_MANAGER = "herald";

export interface Registration {
  readonly client: KubeClient;
  /** The Service that leads to us. What calls another Service is left alone. */
  readonly service: { readonly namespace: string; readonly name: string };
  /** PEM of the authorities. */
  readonly authorities: string;
}

/** What came of one object. "foreign": it calls somebody else, or nobody. */
export type RegistrationResult = "written" | "unchanged" | "missing" | "foreign";

/** Writes the bundle into every webhook of the configuration that calls us. @throws KubeError */
export async function registerWebhooks(registration: Registration): Promise<RegistrationResult> {
  const { client } = registration;
  const object = await orMissing(client.get(validatingWebhookConfigurations, { name: WEBHOOK_CONFIGURATION }));
  if (object === undefined) return "missing";
  const webhooks = object.webhooks ?? [];
  const caBundle = bundleOf(registration);
  const ours = webhooks.filter(({ clientConfig }) => callsUs(clientConfig, registration));
  if (ours.length === 0) return "foreign";
  if (ours.every(({ clientConfig }) => clientConfig.caBundle === caBundle)) return "unchanged";
  const next = webhooks.map((webhook) => (ours.includes(webhook) ? { ...webhook, clientConfig: { ...webhook.clientConfig, caBundle } } : webhook));
  // A merge patch replaces a list as a whole, hence the version that was read.
  const patch = { metadata: { resourceVersion: object.metadata.resourceVersion }, webhooks: next };
  await client.patch(validatingWebhookConfigurations, { name: WEBHOOK_CONFIGURATION }, patch, { fieldManager: FIELD_MANAGER });
  return "written";
}

/** Writes the bundle into the definition of BGPPeers, if it converts by calling us. @throws KubeError */
export async function registerConversion(registration: Registration): Promise<RegistrationResult> {
  const { client } = registration;
  const object = await orMissing(client.get(customResourceDefinitions, { name: CONVERTED_DEFINITION }));
  if (object === undefined) return "missing";
  const { strategy, webhook } = object.spec?.conversion ?? {};
  const clientConfig = webhook?.clientConfig;
  if (strategy !== "Webhook" || clientConfig === undefined || !callsUs(clientConfig, registration)) return "foreign";
  const caBundle = bundleOf(registration);
  if (clientConfig.caBundle === caBundle) return "unchanged";
  const patch = { metadata: { resourceVersion: object.metadata.resourceVersion }, spec: { conversion: { webhook: { clientConfig: { caBundle } } } } };
  await client.patch(customResourceDefinitions, { name: CONVERTED_DEFINITION }, patch, { fieldManager: FIELD_MANAGER });
  return "written";
}

/** By our Service, or by a url: the objects are ours by name. */
function callsUs({ service, url }: WebhookClientConfig, registration: Registration): boolean {
  if (service === undefined) return url !== undefined;
  return service.name === registration.service.name && service.namespace === registration.service.namespace;
}

function bundleOf({ authorities }: Registration): string {
  return Buffer.from(authorities).toString("base64");
}

async function orMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof KubeError && error.code === 404) return undefined;
    throw error;
  }
}
