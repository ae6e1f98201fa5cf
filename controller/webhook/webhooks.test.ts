import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FakeKubeClient } from "../../kube/fake-client.ts";
import { systemClock } from "../../sys/clock.ts";
import { silentLogger } from "../../sys/log.ts";
import { QuickMaker } from "./fake-certificates.ts";
import { Webhooks } from "./webhooks.ts";

const HOST = "127.0.0.1";

test("with a certificate that others look after, a taken port is tried again until it is free", async () => {
  const folder = mkdtempSync(join(tmpdir(), "herald-webhooks-"));
  const { certificatePem, privateKeyPem } = await new QuickMaker().issueServerCertificate({ names: [HOST], wallMs: Date.now(), days: 1, key: "ecdsa" });
  writeFileSync(join(folder, "tls.crt"), certificatePem);
  writeFileSync(join(folder, "tls.key"), privateKeyPem);
  const other = createServer();
  await new Promise<void>((resolve) => void other.listen(0, HOST, resolve));
  const { port } = other.address() as AddressInfo;
  const errors: string[] = [];
  const log = { ...silentLogger, error: (message: string) => void errors.push(message) };
  const webhooks = new Webhooks({ client: new FakeKubeClient(), clock: systemClock, log, namespace: "metallb-system", serviceName: "s", secretName: "c", certificateFolder: folder, host: HOST, port, http2: false });
  webhooks.start();
  try {
    await expect.poll(() => errors, { timeout: 10_000 }).toEqual(["webhooksNotServed"]);
    assert.equal(webhooks.port, undefined);
    await new Promise((resolve) => void other.close(resolve));
    await expect.poll(() => webhooks.port, { timeout: 10_000 }).toBe(port);
    assert.deepEqual(errors, ["webhooksNotServed"], "said once");
  } finally {
    await webhooks.stop();
    other.close();
    rmSync(folder, { recursive: true });
  }
});
