/** The parts of cluster objects that tell the API server whom to call: admission webhooks and the conversion of a kind. */
import type { KubeObject, ResourceType } from "./objects.ts";

/** Whom to call: a Service, or a url. */
export interface WebhookClientConfig {
  service?: { namespace: string; name: string; path?: string; port?: number };
  url?: string;
  /** Base64 of the PEM texts that the server's certificate must be signed by. */
  caBundle?: string;
}

export interface ValidatingWebhookConfiguration extends KubeObject {
  /** Every field beside clientConfig is kept as it is. */
  webhooks?: ({ name: string; clientConfig: WebhookClientConfig } & Record<string, unknown>)[];
}

export interface CustomResourceDefinition extends KubeObject {
  spec?: {
    conversion?: { strategy?: string; webhook?: { clientConfig?: WebhookClientConfig } };
  };
}

export const validatingWebhookConfigurations: ResourceType<ValidatingWebhookConfiguration> = {
  group: "admissionregistration.k8s.io", version: "v1", plural: "validatingwebhookconfigurations", kind: "ValidatingWebhookConfiguration", namespaced: false,
};
export const customResourceDefinitions: ResourceType<CustomResourceDefinition> = {
  group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions", kind: "CustomResourceDefinition", namespaced: false,
};
