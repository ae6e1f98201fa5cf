import { execFile, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { heraldVersion } from "../../config/version.ts";

const run = promisify(execFile);
const root = resolve(import.meta.dirname, "../..");

/** An empty folder far from any node_modules, which then holds the bundle and nothing else. */
let dist = "";

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

beforeAll(async () => {
  dist = mkdtempSync(join(tmpdir(), "herald-dist-"));
  await run(process.execPath, [join(root, "scripts/build.ts"), "--out", join(dist, "herald")]);
  dist = join(dist, "herald");
}, 60_000);

afterAll(() => rmSync(resolve(dist, ".."), { recursive: true, force: true }));

async function start(program: string, args: string[], env: Record<string, string> = {}): Promise<Ended> {
  try {
    const { stdout, stderr } = await run(process.execPath, [join(dist, program), ...args], { cwd: dist, env: { PATH: process.env["PATH"] ?? "", ...env }, timeout: 15_000 });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as Ended;
    return { code, stdout, stderr };
  }
}

test("dist holds four bundles, koffi's binary and nothing that is imported from elsewhere", async () => {
  expect(readdirSync(dist)).toEqual(expect.arrayContaining(["controller.mjs", "speaker.mjs", "packet-thread.mjs", "certificate-program.mjs", `koffi-linux-${process.arch}`]));
});

for (const program of ["controller.mjs", "speaker.mjs"]) {
  test(`${program} --version prints the version`, async () => {
    const { code, stdout } = await start(program, ["--version"]);
    expect(code).toBe(0);
    expect(stdout).toContain(heraldVersion);
  });

  test(`${program} --help names MetalLB's flags`, async () => {
    const { code, stdout } = await start(program, ["--help"]);
    expect(code).toBe(0);
    for (const flag of ["port", "namespace", "pod-name", "log-level", "lb-class", "health-probe-port"]) expect(stdout).toContain(`--${flag}`);
  });

  test(`${program} refuses an unknown flag by name`, async () => {
    const { code, stdout, stderr } = await start(program, ["--no-such-flag"]);
    expect(code).toBe(1);
    expect(stdout + stderr).toContain("no-such-flag");
  });

  test(`${program} refuses a bad value by flag`, async () => {
    const { code, stdout, stderr } = await start(program, ["--port=eighty"], { METALLB_NODE_NAME: "node1" });
    expect(code).toBe(1);
    expect(stdout + stderr).toMatch(/port.*eighty|eighty.*port/);
  });
}

test("speaker.mjs names the node name that it needs", async () => {
  const { code, stdout, stderr } = await start("speaker.mjs", []);
  expect(code).toBe(1);
  expect(stdout + stderr).toContain("METALLB_NODE_NAME");
});

test.skipIf(process.getuid?.() !== 0)("needs root: speaker.mjs starts its packet thread from an empty folder", async () => {
  const kubeconfig = join(dist, "../kubeconfig");
  const cluster = { name: "none", cluster: { server: "http://127.0.0.1:9" } };
  writeFileSync(kubeconfig, JSON.stringify({ apiVersion: "v1", kind: "Config", clusters: [cluster], contexts: [{ name: "none", context: { cluster: "none", user: "none" } }], users: [{ name: "none", user: {} }], "current-context": "none" }));
  // A network namespace of its own, which ends with the process: nothing it might send leaves.
  const child = spawn("unshare", ["--net", process.execPath, join(dist, "speaker.mjs"), "--log-level=debug"], {
    cwd: dist,
    env: { PATH: process.env["PATH"] ?? "", KUBECONFIG: kubeconfig, METALLB_NODE_NAME: "node1", METALLB_NAMESPACE: "metallb-system" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  try {
    await new Promise<void>((done, fail) => {
      const limit = setTimeout(() => fail(new Error(`no packet thread after 15 s:\n${output}`)), 15_000);
      const read = (chunk: Buffer): void => {
        output += chunk.toString();
        if (output.includes('"event":"interfaces"')) {
          clearTimeout(limit);
          done();
        }
      };
      child.stdout.on("data", read);
      child.stderr.on("data", read);
      child.on("exit", (code) => fail(new Error(`ended with ${code}:\n${output}`)));
    });
  } finally {
    child.removeAllListeners("exit");
    child.kill("SIGTERM");
  }
  expect(output).toContain('"event":"interfaces"');
}, 30_000);
