import { describe, expect, it } from "vitest";
import { KubeError } from "../kube/client.ts";
import { FakeKubeClient } from "../kube/fake-client.ts";
import { deployments, type Secret, secrets } from "../kube/objects.ts";
import { FakeClock } from "../sys/fake-clock.ts";
import { silentLogger } from "../sys/log.ts";
import { ensureMemberlistSecret } from "./memberlist-secret.ts";

const NAME = { namespace: "metallb-system", name: "memberlist" };

function ensure(client: FakeKubeClient, deployment = ""): Promise<void> {
  return ensureMemberlistSecret({ client, clock: new FakeClock(), log: silentLogger, ...NAME, deployment, randomBytes: () => new Uint8Array(16).fill(0xff) });
}

describe("the membership protocol's Secret", () => {
  it("is 16 bytes as unpadded base64 text under the key secretkey, without an owner when no Deployment is named", async () => {
    const client = new FakeKubeClient();
    await ensure(client);
    const secret: Secret | undefined = client.peek(secrets, NAME);
    expect(Buffer.from(secret?.data?.["secretkey"] ?? "", "base64").toString()).toBe("/////////////////////w");
    expect(secret?.metadata.ownerReferences).toBeUndefined();
  });

  it("belongs to the Deployment, and is made without one that can't be read", async () => {
    const client = new FakeKubeClient();
    client.put(deployments, { metadata: { namespace: NAME.namespace, name: "controller", uid: "u1" } });
    await ensure(client, "controller");
    expect(client.peek(secrets, NAME)?.metadata.ownerReferences).toEqual([{ apiVersion: "apps/v1", kind: "Deployment", name: "controller", uid: "u1" }]);
    const other = new FakeKubeClient();
    await ensure(other, "missing");
    expect(other.peek(secrets, NAME)).toBeDefined();
  });

  it("is made as soon as an API server that is away comes back", async () => {
    const client = new FakeKubeClient();
    const clock = new FakeClock();
    client.outage(true);
    void ensureMemberlistSecret({ client, clock, log: silentLogger, ...NAME, deployment: "controller", randomBytes: () => new Uint8Array(16) });
    await clock.advance(60_000);
    client.outage(false);
    client.put(deployments, { metadata: { namespace: NAME.namespace, name: "controller", uid: "u1" } });
    await clock.advance(10_000);
    expect(client.peek(secrets, NAME)?.metadata.ownerReferences).toHaveLength(1);
  });

  it("is made once the rights are there, which an installation may grant after the controller has started", async () => {
    const client = new FakeKubeClient();
    const clock = new FakeClock();
    const told: string[] = [];
    const note = (event: string): void => void told.push(event);
    client.failNext({ verb: "get", plural: "secrets", error: new KubeError({ code: 403, reason: "Forbidden", message: "no" }), times: 2 });
    const made = ensureMemberlistSecret({ client, clock, log: { debug: note, info: note, warn: note, error: note }, ...NAME, deployment: "", randomBytes: () => new Uint8Array(16) });
    await clock.advance(120_000);
    await made;
    expect(client.peek(secrets, NAME)).toBeDefined();
    expect(told.filter((event) => event === "memberlistSecretNotCreated")).toHaveLength(1);
  });

  it("is left alone when it is there", async () => {
    const client = new FakeKubeClient();
    client.put(secrets, { metadata: NAME, data: { secretkey: "b2xk" } });
    await ensure(client);
    expect(client.peek(secrets, NAME)?.data).toEqual({ secretkey: "b2xk" });
  });
});
