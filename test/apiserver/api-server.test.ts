import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { findApiServerBinaries } from "./binaries.ts";

const found = findApiServerBinaries();

describe.skipIf(found.kind === "missing")(`the API server of tests${found.kind === "missing" ? ` (${found.reason})` : ""}`, () => {
  let server: ApiServer | undefined;
  afterAll(() => server?.stop());

  it("knows its users, keeps its data over a restart, and leaves nothing behind", async () => {
    server = await startApiServer();
    expect(await server.kubectl(["create", "configmap", "kept"])).toMatchObject({ code: 0 });
    const refused = await server.kubectl(["--token", server.powerlessToken, "get", "configmaps"]);
    expect(refused.stderr).toContain("Forbidden");

    await server.stopServer();
    expect((await server.kubectl(["get", "configmaps", "--request-timeout=2s"])).code).not.toBe(0);
    await server.startServer();
    expect((await server.kubectl(["get", "configmap", "kept", "-o", "name"])).stdout.trim()).toBe("configmap/kept");

    await server.stop();
    await server.stop();
    expect(existsSync(dirname(server.kubeconfig))).toBe(false);
  });
});
