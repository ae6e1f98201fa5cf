import assert from "node:assert/strict";
import { afterEach, describe, expect, it } from "vitest";
import { describeCertificate, isIssuedBy } from "../../kube/certificates.ts";
import { KubeError } from "../../kube/client.ts";
import { FakeKubeClient } from "../../kube/fake-client.ts";
import { type Secret, secrets } from "../../kube/objects.ts";
import { FakeClock } from "../../sys/fake-clock.ts";
import { silentLogger } from "../../sys/log.ts";
import { CertificateKeeper } from "./certificate-keeper.ts";
import type { UsableCertificates } from "./certificate-plan.ts";
import { QuickMaker } from "./fake-certificates.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const NAME = { namespace: "metallb-system", name: "metallb-webhook-cert" };
const HOST = "metallb-webhook-service.metallb-system.svc";

/** A clock whose wall can jump, as if nobody had looked for long. */
class JumpingClock extends FakeClock {
  #jumped = 0;

  jump(days: number): void {
    this.#jumped += days * DAY_MS;
  }

  override wallMs(): number {
    return super.wallMs() + this.#jumped;
  }
}

class Replica {
  readonly served: UsableCertificates[] = [];
  readonly maker = new QuickMaker();
  /** onCertificates rejects so many times. */
  failures = 0;
  readonly #keeper: CertificateKeeper;

  constructor(client: FakeKubeClient, clock: FakeClock, name = HOST) {
    this.#keeper = new CertificateKeeper({
      client, clock, log: silentLogger, namespace: NAME.namespace, secretName: NAME.name, names: [name], key: "ecdsa", maker: this.maker,
      onCertificates: async (usable) => {
        if (this.failures-- > 0) throw new Error("the port is taken");
        this.served.push(usable);
      },
    });
    void this.#keeper.run();
  }

  stop(): void {
    this.#keeper.stop();
  }

  get last(): UsableCertificates {
    const last = this.served.at(-1);
    assert.ok(last !== undefined, "nothing is served");
    return last;
  }
}

class Scene {
  readonly client = new FakeKubeClient();
  readonly clock = new JumpingClock();
  readonly replicas: Replica[] = [];

  start(name?: string): Replica {
    const replica = new Replica(this.client, this.clock, name);
    this.replicas.push(replica);
    return replica;
  }

  /** Lets virtual time run, in steps, until `reached`; keys are really made, which takes real time. */
  async until(reached: () => boolean): Promise<void> {
    await expect.poll(async () => {
      await this.clock.advance(20_000);
      return reached();
    }, { timeout: 15_000, interval: 5 }).toBe(true);
  }

  async look(): Promise<void> {
    await this.clock.advance(60_000);
  }

  get secret(): Secret | undefined {
    return this.client.peek(secrets, NAME);
  }

  get writes(): number {
    return this.client.calls.filter(({ verb }) => verb === "create" || verb === "patch").length;
  }
}

function part(secret: Secret | undefined, key: string): string {
  return Buffer.from(secret?.data?.[key] ?? "", "base64").toString();
}

describe("the webhooks' certificates", () => {
  let scene = new Scene();
  afterEach(() => {
    for (const replica of scene.replicas) replica.stop();
    scene = new Scene();
  });

  it.each([["absent", undefined], ["empty", {}]])("are made when the Secret is %s, for ten years and for one", async (_what, data) => {
    if (data !== undefined) scene.client.put(secrets, { metadata: { ...NAME, labels: { app: "kept" } }, type: "Opaque", data });
    const replica = scene.start();
    await scene.until(() => replica.served.length === 1);
    const { serving, authorities } = replica.last;
    const now = scene.clock.wallMs();
    const server = describeCertificate(serving.certificatePem);
    expect(server).toMatchObject({ names: [HOST], authority: false });
    assert.equal(Math.round((server.notAfterMs - now) / DAY_MS), 365);
    const authority = describeCertificate(authorities);
    expect(authority).toMatchObject({ commonName: "cert", authority: true });
    assert.equal(Math.round((authority.notAfterMs - now) / DAY_MS), 3650);
    assert.ok(isIssuedBy(serving.certificatePem, authorities));
    expect([part(scene.secret, "tls.crt"), part(scene.secret, "tls.key"), part(scene.secret, "ca.crt")]).toEqual([serving.certificatePem, serving.privateKeyPem, authorities]);
    assert.ok(part(scene.secret, "ca.key").includes("PRIVATE KEY"));
    if (data !== undefined) expect(scene.secret?.metadata.labels).toEqual({ app: "kept" });
  });

  it("are left alone until 90 days before their end; then the same authority signs anew", async () => {
    const replica = scene.start();
    await scene.until(() => replica.served.length === 1);
    const first = replica.last;
    scene.clock.jump(274);
    await scene.look();
    await scene.look();
    assert.equal(scene.writes, 1, "too early");
    scene.clock.jump(1);
    await scene.until(() => replica.served.length === 2);
    assert.equal(replica.last.authorities, first.authorities);
    assert.notEqual(replica.last.serving.certificatePem, first.serving.certificatePem);
    expect([replica.maker.authorities, replica.maker.servers, scene.writes]).toEqual([1, 2, 2]);
    await scene.look();
    await scene.look();
    assert.equal(scene.writes, 2, "a good one is not written again");
  });

  it("outlive their authority: a new one signs in time, and the one before stays trusted until its end", async () => {
    const replica = scene.start();
    await scene.until(() => replica.served.length === 1);
    const first = replica.last;
    for (let served = 1; replica.maker.authorities === 1; served++) {
      assert.ok(served < 20, "no new authority in twenty renewals");
      scene.clock.jump(276);
      await scene.until(() => replica.served.length === served + 1);
      const facts = describeCertificate(replica.last.serving.certificatePem);
      assert.ok(facts.notAfterMs <= describeCertificate(replica.last.authorities).notAfterMs, "signed by one that ends before it");
    }
    const bundle = replica.last.authorities;
    assert.equal(bundle.match(/BEGIN CERTIFICATE/g)?.length, 2);
    assert.ok(isIssuedBy(replica.last.serving.certificatePem, bundle), "today's comes first");
    assert.ok(bundle.includes(first.authorities.trim()), "a replica that still shows the former certificate is believed");
    scene.clock.jump(800);
    await scene.until(() => !replica.last.authorities.includes(first.authorities.trim()));
  });

  it("are one and the same for replicas that start at once", async () => {
    scene.client.put(secrets, { metadata: NAME, type: "Opaque", data: {} });
    const [one, two] = [scene.start(), scene.start()];
    await scene.until(() => one.served.length > 0 && two.served.length > 0);
    await scene.look();
    assert.deepEqual(one.last, two.last);
    assert.equal(part(scene.secret, "tls.crt"), one.last.serving.certificatePem);
    scene.clock.jump(300);
    await scene.until(() => part(scene.secret, "tls.crt") !== one.served[0]?.serving.certificatePem);
    await scene.look();
    await scene.until(() => one.last.serving.certificatePem === two.last.serving.certificatePem && one.last.serving.certificatePem === part(scene.secret, "tls.crt"));
  });

  it("are the ones of whoever wrote first, also when there was no Secret at all", async () => {
    const [one, two] = [scene.start(), scene.start()];
    await scene.until(() => one.served.length > 0 && two.served.length > 0);
    await scene.look();
    assert.deepEqual(one.last, two.last);
  });

  it("are taken over from a Secret that is there", async () => {
    const before = scene.start();
    await scene.until(() => before.served.length === 1);
    before.stop();
    const after = scene.start();
    await scene.until(() => after.served.length === 1);
    assert.deepEqual(after.last, before.last);
    assert.equal(after.maker.servers, 0);
  });

  it.each(["ca.crt", "ca.key", "tls.crt", "tls.key"])("are mended when %s is damaged", async (key) => {
    const replica = scene.start();
    await scene.until(() => replica.served.length === 1);
    const secret = scene.secret;
    assert.ok(secret?.data !== undefined);
    secret.data[key] = Buffer.from("damaged").toString("base64");
    // A key is only missed when it is needed.
    if (key === "ca.key") scene.clock.jump(300);
    scene.client.put(secrets, secret);
    await scene.until(() => replica.served.length >= 2);
    assert.ok(isIssuedBy(replica.last.serving.certificatePem, replica.last.authorities));
    assert.equal(part(scene.secret, "tls.key"), replica.last.serving.privateKeyPem);
  });

  it("are made anew for another Service, by the same authority", async () => {
    const before = scene.start();
    await scene.until(() => before.served.length === 1);
    before.stop();
    const after = scene.start("other.metallb-system.svc");
    await scene.until(() => after.served.length === 1);
    expect(describeCertificate(after.last.serving.certificatePem).names).toEqual(["other.metallb-system.svc"]);
    assert.equal(after.last.authorities, before.last.authorities);
  });

  it("are served on while they can't be renewed", async () => {
    const before = scene.start();
    await scene.until(() => before.served.length === 1);
    before.stop();
    scene.clock.jump(300);
    scene.client.failNext({ verb: "patch", times: 1000, error: new KubeError({ code: 403, reason: "Forbidden", message: "no" }) });
    const after = scene.start();
    await scene.until(() => after.served.length === 1);
    assert.deepEqual(after.last, before.last);
  });

  it("wait for an API server that is away, and for a port that is taken", async () => {
    scene.client.outage(true);
    const replica = scene.start();
    replica.failures = 2;
    await scene.look();
    assert.equal(replica.served.length, 0);
    scene.client.outage(false);
    await scene.until(() => replica.served.length === 1);
    assert.equal(scene.writes, 1);
  });
});
