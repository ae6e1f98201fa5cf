/**
 * Bundles Herald into `dist/`, which is self-contained: copy the folder anywhere and start it with Node 24.
 *   dist/controller.mjs  dist/speaker.mjs  dist/packet-thread.mjs  dist/certificate-program.mjs  dist/kubectl-herald.mjs  dist/koffi-linux-ARCH/
 * What else is made from it stays: dist/image, dist/manifests, dist/release and packaged charts.
 * `node scripts/build.ts [--out DIR] [--arch x64|arm64] [--koffi DIR] [--metafile FILE]`
 *   --koffi     folder of the npm package with koffi's binary, when node_modules does not have it
 *   --metafile  where to write which files went into which bundle (esbuild's metafile)
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build, type Plugin } from "esbuild";
import { heraldVersion } from "../config/version.ts";
import { clientNodeSlim } from "./client-node-slim.ts";
import { slimHttp } from "./slim-http.ts";

const root = resolve(import.meta.dirname, "..");

/** Where koffi looks for its binary when it runs from node_modules, and where it must look inside dist/. */
const KOFFI_SOURCE_PATH = "`${import.meta.dirname}/../../../@koromix/koffi-${pkg2}`";
const KOFFI_DIST_PATH = "`${import.meta.dirname}/koffi-${pkg2}`";

const koffiBesideTheBundle: Plugin = {
  name: "koffi-beside-the-bundle",
  setup(esbuild) {
    esbuild.onLoad({ filter: /[\\/]node_modules[\\/]koffi[\\/]src[\\/]koffi[\\/]index\.js$/ }, ({ path }) => {
      const source = readFileSync(path, "utf8");
      if (!source.includes(KOFFI_SOURCE_PATH)) throw new Error(`${path}: koffi finds its binary in another way than this build knows; update scripts/build.ts`);
      return { contents: source.replace(KOFFI_SOURCE_PATH, KOFFI_DIST_PATH), loader: "js", resolveDir: dirname(path) };
    });
  },
};

/** What other programs than this one put into dist/. */
const MADE_BY_OTHERS = /^(image|manifests|release|.*\.tgz)$/;

const { values } = parseArgs({
  options: { out: { type: "string", default: join(root, "dist") }, arch: { type: "string", default: process.arch }, koffi: { type: "string" }, metafile: { type: "string" } },
});
// Built beside the target and moved into place, so that a reader never sees half a bundle.
const staging = `${values.out}.new-${process.pid}`;
rmSync(staging, { recursive: true, force: true });
mkdirSync(staging, { recursive: true });
try {
  await bundle(staging);
  copyKoffi(staging, values.arch);
  writeFileSync(join(staging, "VERSION"), `${heraldVersion}\n`);
  for (const name of existsSync(values.out) ? readdirSync(values.out) : []) {
    if (MADE_BY_OTHERS.test(name)) renameSync(join(values.out, name), join(staging, name));
  }
  rmSync(values.out, { recursive: true, force: true });
  renameSync(staging, values.out);
} finally {
  rmSync(staging, { recursive: true, force: true });
}

async function bundle(outdir: string): Promise<void> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: { controller: "controller/main.ts", speaker: "speaker/main.ts", "packet-thread": "speaker/packet-thread.ts", "certificate-program": "kube/certificate-program.ts", "kubectl-herald": "cli/main.ts" },
    outdir,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node24",
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: "linked",
    // Dependencies in CommonJS call require() for Node's own modules.
    banner: { js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);' },
    plugins: [koffiBesideTheBundle, clientNodeSlim, slimHttp],
    logLevel: "warning",
    metafile: true,
  });
  if (values.metafile !== undefined) writeFileSync(values.metafile, JSON.stringify(metafile));
}

function copyKoffi(outdir: string, arch: string): void {
  const name = `koffi-linux-${arch}`;
  const from = values.koffi ?? join(root, "node_modules/@koromix", name);
  if (!existsSync(from)) throw new Error(`${from} is missing: npm installs koffi's binary for this machine only; for another, npm install --force @koromix/${name}`);
  for (const part of ["index.js", "package.json", `linux_${arch}`]) cpSync(join(from, part), join(outdir, name, part), { recursive: true });
}
