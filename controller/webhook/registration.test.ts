import { describe, expect, it } from "vitest";
import { FakeKubeClient } from "../../kube/fake-client.ts";
import { customResourceDefinitions, validatingWebhookConfigurations } from "../../kube/registrations.ts";
import { CONVERTED_DEFINITION, registerConversion, registerWebhooks, WEBHOOK_CONFIGURATION } from "./registration.ts";

const service = { namespace: "metallb-system", name: "metallb-webhook-service" };
const bundle = Buffer.from("PEM").toString("base64");

function register(client: FakeKubeClient): { readonly webhooks: () => Promise<string>; readonly conversion: () => Promise<string> } {
  const registration = { client, service, authorities: "PEM" };
  return { webhooks: () => registerWebhooks(registration), conversion: () => registerConversion(registration) };
}

describe("the CA bundle", () => {
  it("goes into every webhook that calls us, once, and changes nothing else", async () => {
    const client = new FakeKubeClient();
    const name = WEBHOOK_CONFIGURATION;
    const ours = { name: "a.metallb.io", failurePolicy: "Ignore", clientConfig: { service: { ...service, path: "/a", port: 443 } }, rules: [{ operations: ["CREATE"] }] };
    const byUrl = { name: "b.metallb.io", clientConfig: { url: "https://127.0.0.1:9443/b", caBundle: "b2xk" } };
    const foreign = { name: "c.example.org", clientConfig: { service: { ...service, namespace: "other" }, caBundle: "b2xk" } };
    client.put(validatingWebhookConfigurations, { metadata: { name, labels: { a: "b" } }, webhooks: [ours, byUrl, foreign] });
    const { webhooks } = register(client);
    expect(await webhooks()).toBe("written");
    expect(client.peek(validatingWebhookConfigurations, { name })).toMatchObject({
      metadata: { labels: { a: "b" } },
      webhooks: [{ ...ours, clientConfig: { ...ours.clientConfig, caBundle: bundle } }, { ...byUrl, clientConfig: { ...byUrl.clientConfig, caBundle: bundle } }, foreign],
    });
    expect(await webhooks()).toBe("unchanged");
    expect(client.calls.filter(({ verb }) => verb === "patch")).toHaveLength(1);
  });

  it("is not forced on anybody else, and its place may be missing", async () => {
    const client = new FakeKubeClient();
    const { webhooks, conversion } = register(client);
    expect([await webhooks(), await conversion()]).toEqual(["missing", "missing"]);
    client.put(validatingWebhookConfigurations, { metadata: { name: WEBHOOK_CONFIGURATION } });
    client.put(customResourceDefinitions, { metadata: { name: CONVERTED_DEFINITION }, spec: { conversion: { strategy: "None" } } });
    expect([await webhooks(), await conversion()]).toEqual(["foreign", "foreign"]);
    client.put(customResourceDefinitions, { metadata: { name: CONVERTED_DEFINITION }, spec: { conversion: { strategy: "Webhook", webhook: { clientConfig: { service: { ...service, name: "other" } } } } } });
    expect(await conversion()).toBe("foreign");
  });

  it("goes into a definition that converts by calling us", async () => {
    const client = new FakeKubeClient();
    const name = CONVERTED_DEFINITION;
    const webhook = { conversionReviewVersions: ["v1beta1"], clientConfig: { service: { ...service, path: "/convert" }, caBundle: "b2xk" } };
    client.put(customResourceDefinitions, { metadata: { name }, spec: { conversion: { strategy: "Webhook", webhook } } });
    const { conversion } = register(client);
    expect([await conversion(), await conversion()]).toEqual(["written", "unchanged"]);
    expect(client.peek(customResourceDefinitions, { name })?.spec).toEqual({ conversion: { strategy: "Webhook", webhook: { ...webhook, clientConfig: { ...webhook.clientConfig, caBundle: bundle } } } });
  });

  it("is not written over a change that came in between", async () => {
    const client = new FakeKubeClient();
    const name = WEBHOOK_CONFIGURATION;
    client.put(validatingWebhookConfigurations, { metadata: { name }, webhooks: [{ name: "a", clientConfig: { service } }] });
    const get = client.get.bind(client);
    client.get = async (type, object) => {
      const answer = await get(type, object);
      client.put(validatingWebhookConfigurations, { metadata: { name }, webhooks: [{ name: "a", clientConfig: { service } }, { name: "b", clientConfig: { service } }] });
      return answer;
    };
    await expect(register(client).webhooks()).rejects.toMatchObject({ code: 409 });
    expect(client.peek(validatingWebhookConfigurations, { name })?.webhooks).toHaveLength(2);
  });
});
