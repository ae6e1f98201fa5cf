/** Herald's image: built from two folders, read back, and run. */
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, test } from "vitest";
import { heraldVersion } from "../../config/version.ts";
import { hostArchitecture, NODE_ARCHITECTURE } from "../../scripts/oci/architecture.ts";
import { readElf } from "../../scripts/oci/elf.ts";
import type { ImageArchitecture } from "../../scripts/oci/image-archive.ts";
import { sharedLibraries } from "../../scripts/oci/shared-libraries.ts";
import { eventually } from "../lab/eventually.ts";
import { findProgram } from "../lab/programs.ts";
import { type ReadImage, readImage } from "./archive.ts";

const run = promisify(execFile);
const root = resolve(import.meta.dirname, "../..");
const host = hostArchitecture();
const isRoot = process.getuid?.() === 0;
const MAX_UNPACKED_BYTES = 150_000_000;
const BUILD_TIMEOUT_MS = 240_000;

const folder = mkdtempSync(join(tmpdir(), "herald-image-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Two copies of this checkout, taken at once, for whoever works in it goes on; one is a level deeper. */
const checkout = join(folder, "checkout");
const elsewhere = join(folder, "another-name/checkout");

/** Runs scripts/image.ts of a checkout. @returns the archive's path. */
async function buildImage(from: string, architecture: ImageArchitecture): Promise<string> {
  const out = join(from, "out");
  await run(process.execPath, [join(from, "scripts/image.ts"), "--arch", architecture, "--out", out]);
  return join(out, `herald-${heraldVersion}-${architecture}.tar`);
}

/** Every file of this checkout that git knows or would add; packages are hard links where that goes. */
function copyCheckouts(): void {
  const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: root, encoding: "utf8" }).split("\0");
  for (const file of files.filter((name) => name !== "" && existsSync(join(root, name)))) {
    mkdirSync(dirname(join(checkout, file)), { recursive: true });
    cpSync(join(root, file), join(checkout, file));
  }
  cpSync(checkout, elsewhere, { recursive: true });
  for (const to of [checkout, elsewhere]) {
    const linked = spawnSync("cp", ["--archive", "--link", join(root, "node_modules"), to]);
    if (linked.status !== 0) execFileSync("cp", ["--archive", join(root, "node_modules"), to]);
  }
}

/** All files below a folder, as paths inside it. */
function filesIn(path: string): string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name).slice(path.length)).toSorted();
}

let archive = "";
let image: ReadImage;

beforeAll(async () => {
  copyCheckouts();
  archive = await buildImage(checkout, host);
  image = readImage(archive, join(folder, "read"));
}, BUILD_TIMEOUT_MS);

test("the same sources in another folder give the same bytes", { timeout: BUILD_TIMEOUT_MS }, async () => {
  const other = await buildImage(elsewhere, host);
  assert.ok(readFileSync(other).equals(readFileSync(archive)), `${other} and ${archive} differ`);
});

test("building again finds it up to date", { timeout: BUILD_TIMEOUT_MS }, async () => {
  const { stdout } = await run(process.execPath, [join(checkout, "scripts/image.ts"), "--out", dirname(archive)]);
  assert.match(stdout, /is up to date/);
  assert.ok(stdout.includes(image.descriptor.digest), stdout);
});

test("both kinds of runtime are told the same image by the same name", () => {
  assert.equal(image.descriptor.annotations?.["io.containerd.image.name"], `docker.io/library/herald:${heraldVersion}`);
  assert.deepEqual(image.descriptor.platform, { architecture: host, os: "linux" });
  assert.deepEqual(image.dockerManifest.map(({ RepoTags, Layers }) => ({ RepoTags, Layers })), [{ RepoTags: [`herald:${heraldVersion}`], Layers: image.layers }]);
});

test("it starts node as nobody, and labels say what it is", () => {
  const { User, Entrypoint, Env, Labels } = image.config.config;
  assert.deepEqual({ User, Entrypoint }, { User: "65534:65534", Entrypoint: ["/usr/local/bin/node"] });
  assert.ok(Env.includes("MALLOC_ARENA_MAX=2"));
  assert.equal(Labels["org.opencontainers.image.version"], heraldVersion);
  assert.equal(Labels["org.opencontainers.image.licenses"], "Apache-2.0");
});

test("it holds one program, libraries, Herald and papers, no shell, and stays below 150 MB", () => {
  assert.ok(image.unpackedBytes < MAX_UNPACKED_BYTES, `${image.unpackedBytes} bytes`);
  const files = filesIn(image.root);
  const unexpected = files.filter((path) => !/^\/(usr\/local\/bin\/node$|lib(64)?\/|opt\/herald\/|usr\/share\/(licenses|sbom)\/|etc\/(passwd|group|nsswitch\.conf|ssl\/certs\/ca-certificates\.crt)$)/.test(path));
  assert.deepEqual(unexpected, []);
  const inBin = readdirSync(join(image.root, "usr/local/bin"));
  assert.deepEqual(inBin, ["node"]);
  for (const path of files.filter((name) => name.startsWith("/lib"))) assert.match(path, /\.so(\.\d+)*$/);
});

test("the bill of materials beside the archive is the one inside, and names Node, the C library and bundled packages", () => {
  const beside = readFileSync(archive.replace(/\.tar$/, ".spdx.json"), "utf8");
  assert.equal(readFileSync(join(image.root, "usr/share/sbom/herald.spdx.json"), "utf8"), beside);
  const { packages } = JSON.parse(beside) as { packages: { name: string; versionInfo: string }[] };
  const versions = new Map(packages.map(({ name, versionInfo }) => [name, versionInfo]));
  assert.equal(versions.get("node"), process.version.slice(1));
  assert.equal(versions.get("koffi"), (JSON.parse(readFileSync(join(root, "node_modules/koffi/package.json"), "utf8")) as { version: string }).version);
  for (const name of ["herald", "pino", "prom-client", `@koromix/koffi-linux-${NODE_ARCHITECTURE[host]}`]) assert.ok(versions.has(name), name);
});

test("as nobody, on a root that nothing can be written to, both programs tell their version and koffi loads", (context) => {
  if (!isRoot) return context.skip("needs root, for chroot");
  const inside = (...command: string[]): string =>
    execFileSync("unshare", ["--mount", "sh", "-ec", 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; root=$0; exec chroot --userspec=65534:65534 "$root" "$@"', image.root, ...command], { encoding: "utf8" });
  for (const program of ["controller", "speaker"]) assert.match(inside("/usr/local/bin/node", `/opt/herald/${program}.mjs`, "--version"), new RegExp(`${program} ${heraldVersion}`));
  const koffi = `/opt/herald/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`;
  const script = `require(${JSON.stringify(koffi)}); try { fs.writeFileSync("/tmp/x", ""); } catch (error) { console.log(process.getuid(), error.code); }`;
  assert.equal(inside("/usr/local/bin/node", "--eval", script), "65534 EROFS\n");
});

test("containerd imports it under its name and digest, and runs it with a read-only root", { timeout: 180_000 }, async (context) => {
  const containerd = findProgram("containerd");
  const ctr = findProgram("ctr");
  if (!isRoot || containerd === undefined || ctr === undefined) return context.skip("needs root and containerd: run 'scripts/setup full'");
  const home = join(folder, "containerd");
  mkdirSync(home);
  const socket = join(home, "socket");
  writeFileSync(
    join(home, "config.toml"),
    `version = 2\nroot = "${home}/root"\nstate = "${home}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "${socket}"\n`,
  );
  const daemon = spawn(containerd, ["--config", join(home, "config.toml")], { stdio: "ignore" });
  const ended = new Promise((done) => daemon.once("exit", done));
  const call = async (...command: string[]): Promise<string> => (await run(ctr, ["--address", socket, ...command])).stdout;
  try {
    await eventually(() => call("version"), { what: "an answer of containerd", timeoutMs: 60_000 });
    await call("images", "import", archive);
    const reference = `docker.io/library/herald:${heraldVersion}`;
    assert.match(await call("images", "ls", `name==${reference}`), new RegExp(image.descriptor.digest));
    assert.match(await call("run", "--rm", "--read-only", reference, "test-controller"), new RegExp(`controller ${heraldVersion}`));
    assert.match(await call("run", "--rm", "--read-only", reference, "test-speaker", "/usr/local/bin/node", "/opt/herald/speaker.mjs", "--version"), new RegExp(`speaker ${heraldVersion}`));
  } finally {
    daemon.kill("SIGTERM");
    await ended;
  }
});

test("needs Docker: docker load takes it", { timeout: 180_000 }, async (context) => {
  if (spawnSync("docker", ["info"], { stdio: "ignore" }).status !== 0) return context.skip("no Docker engine answers");
  const { stdout } = await run("docker", ["load", "--input", archive]);
  assert.match(stdout, new RegExp(`herald:${heraldVersion}`));
});

test("for the other architecture everything is of that architecture and no library is missing", { timeout: BUILD_TIMEOUT_MS }, async (context) => {
  if (["apt-get", "dpkg-deb"].some((program) => spawnSync(program, ["--version"]).status !== 0)) return context.skip("needs apt-get and dpkg-deb, which fetch the libraries");
  const other: ImageArchitecture = host === "amd64" ? "arm64" : "amd64";
  const read = readImage(await buildImage(checkout, other), join(folder, "read-other"));
  assert.equal(read.config.architecture, other);
  assert.ok(read.unpackedBytes < MAX_UNPACKED_BYTES, `${read.unpackedBytes} bytes`);
  const programs = filesIn(read.root).filter((path) => /^\/(lib|usr\/local\/bin)|\.node$/.test(path)).map((path) => readFileSync(join(read.root, path)));
  assert.ok(programs.length > 5, `${programs.length} programs and libraries`);
  for (const content of programs) assert.equal(readElf(content).architecture, other);
  // Looks for each library where the dynamic linker will, in the image alone.
  sharedLibraries({ programs, architecture: other, root: read.root });
});
