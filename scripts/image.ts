/**
 * Builds Herald's image, for controller and speaker alike, without pulling anything: an archive that `ctr -n k8s.io images
 * import`, `docker load` and `podman load` take, and its bill of materials beside it. Quick when nothing changed.
 * `node scripts/image.ts [--arch amd64|arm64] [--out DIR] [--refresh]`
 *   --refresh  fetch Debian's libraries for the other architecture anew, for there may be newer ones
 *   dist/image/herald-VERSION-ARCH.tar        the archive
 *   dist/image/herald-VERSION-ARCH.spdx.json  what is in it
 *   dist/image/herald-VERSION-ARCH.json       its digest and sizes
 * The same sources, Node and libraries give the same bytes.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { heraldVersion } from "../config/version.ts";
import { cacheFolder } from "../test/lab/programs.ts";
import { hostArchitecture, NODE_ARCHITECTURE } from "./oci/architecture.ts";
import { type BundledPackage, bundledPackages, describePackage, type Metafile } from "./oci/bundled-packages.ts";
import { copyrightOf, type DebianPackage, owningPackage, unpackDebianPackages } from "./oci/debian-packages.ts";
import { heraldImage, type HeraldImageParts, imageReference } from "./oci/herald-image.ts";
import { type Image, type ImageArchitecture, imageArchive } from "./oci/image-archive.ts";
import { lockedPackage, npmPackageFolder } from "./oci/npm-package.ts";
import { type Part, spdxDocument } from "./oci/sbom.ts";
import { type SharedLibrary, sharedLibraries } from "./oci/shared-libraries.ts";

const root = resolve(import.meta.dirname, "..");

/** Debian's packages with the libraries that Node needs, fetched when the image is for another architecture than this machine's. */
const LIBRARY_PACKAGES = ["libc6", "libstdc++6", "libgcc-s1", "gcc-12-base"];

const { values } = parseArgs({ options: { arch: { type: "string", default: hostArchitecture() }, out: { type: "string", default: join(root, "dist/image") }, refresh: { type: "boolean", default: false } } });
const architecture = asArchitecture(values.arch);
const nodeVersion = lockedPackage(root, `node-linux-${NODE_ARCHITECTURE[architecture]}`).version;
// Certificates and compression come from the Node that runs this.
if (process.version !== `v${nodeVersion}`) throw new Error(`build the image with Node ${nodeVersion}, the one that goes into it, not ${process.version}: run 'make image'`);

const base = join(values.out, `herald-${heraldVersion}-${architecture}`);
const scratch = mkdtempSync(join(tmpdir(), "herald-image-"));
try {
  const parts = gatherParts(scratch);
  writeImage(heraldImage(parts), parts.sbom);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

function asArchitecture(name: string): ImageArchitecture {
  if (name !== "amd64" && name !== "arm64") throw new Error(`--arch ${name}: images are built for amd64 and arm64`);
  return name;
}

function gatherParts(folder: string): HeraldImageParts {
  const finder = { root, cache: cacheFolder() };
  const nodeArchitecture = NODE_ARCHITECTURE[architecture];
  const nodePackage = npmPackageFolder(finder, `node-linux-${nodeArchitecture}`);
  const koffiPackage = npmPackageFolder(finder, `@koromix/koffi-linux-${nodeArchitecture}`);
  const dist = join(folder, "dist");
  const metafile = join(folder, "metafile.json");
  execFileSync(process.execPath, [join(root, "scripts/build.ts"), "--out", dist, "--arch", nodeArchitecture, "--koffi", koffiPackage, "--metafile", metafile], { stdio: ["ignore", "inherit", "inherit"] });
  const node = readFileSync(join(nodePackage, "bin/node"));
  const koffi = readFileSync(join(dist, `koffi-linux-${nodeArchitecture}/linux_${nodeArchitecture}/koffi.node`));
  const { libraries, packages, libraryRoot } = findLibraries([node, koffi]);
  const bundled = [...bundledPackages(root, JSON.parse(readFileSync(metafile, "utf8")) as Metafile), describePackage(koffiPackage)];
  return {
    version: heraldVersion,
    architecture,
    dist,
    node,
    libraries,
    sbom: billOfMaterials(bundled, packages),
    licenses: licenses({ bundled, packages, libraryRoot, nodePackage }),
  };
}

/** This machine's libraries, or Debian's when the image is for another architecture. */
function findLibraries(programs: readonly Uint8Array[]): { libraries: SharedLibrary[]; packages: DebianPackage[]; libraryRoot: string } {
  if (architecture !== hostArchitecture()) {
    const folder = join(cacheFolder(), "debian", architecture);
    if (values.refresh) rmSync(folder, { recursive: true, force: true });
    const { root: libraryRoot, packages } = unpackDebianPackages({ architecture, names: LIBRARY_PACKAGES, folder });
    return { libraries: sharedLibraries({ programs, architecture, root: libraryRoot }), packages, libraryRoot };
  }
  const libraries = sharedLibraries({ programs, architecture, root: "/" });
  const packages = new Map<string, DebianPackage>();
  for (const { file } of libraries) {
    const owner = owningPackage(file);
    if (owner !== undefined) packages.set(owner.name, owner);
  }
  return { libraries, packages: [...packages.values()], libraryRoot: "/" };
}

function billOfMaterials(bundled: readonly BundledPackage[], packages: readonly DebianPackage[]): string {
  const node: Part = { name: "node", version: nodeVersion, license: "MIT", purl: `pkg:generic/node@${nodeVersion}`, supplier: "Organization: OpenJS Foundation" };
  const debian = packages.map(
    ({ name, version, distribution }): Part => ({ name, version, purl: `pkg:deb/${distribution}/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}` }),
  );
  return spdxDocument({
    product: { name: "herald", version: heraldVersion, license: "Apache-2.0", purl: `pkg:oci/herald@${heraldVersion}?arch=${architecture}` },
    parts: [...bundled.map(({ part }) => part), node, ...debian],
    createdSeconds: 0,
  });
}

function licenses({ bundled, packages, libraryRoot, nodePackage }: { bundled: readonly BundledPackage[]; packages: readonly DebianPackage[]; libraryRoot: string; nodePackage: string }): Map<string, Uint8Array> {
  const texts = new Map<string, Uint8Array>([
    ["herald", readFileSync(join(root, "LICENSE"))],
    ["node", readFileSync(join(nodePackage, "LICENSE"))],
  ]);
  for (const { part, license } of bundled) if (license !== undefined) texts.set(`npm-${part.name.replace("/", "-")}-${part.version}`, license);
  for (const { name } of packages) {
    const text = copyrightOf(libraryRoot, name);
    if (text !== undefined) texts.set(`debian-${name}`, text);
  }
  return texts;
}

/** What is told of an image beside its archive. */
interface ImageFacts {
  readonly reference: string;
  readonly digest: string;
  readonly unpackedBytes: number;
  readonly archiveBytes: number;
  /** Sum over all that the image is made from. */
  readonly inputs: string;
}

function writeImage(image: Image, sbom: string): void {
  const inputs = inputsOf(image);
  const known = existsSync(`${base}.json`) ? (JSON.parse(readFileSync(`${base}.json`, "utf8")) as ImageFacts) : undefined;
  if (known?.inputs === inputs && existsSync(`${base}.tar`) && statSync(`${base}.tar`).size === known.archiveBytes) {
    report(known, "is up to date");
    return;
  }
  const { digest, unpackedBytes, pieces } = imageArchive(image);
  mkdirSync(values.out, { recursive: true });
  // Moved into place when whole: nobody loads half an archive.
  const staging = `${base}.tar.new-${process.pid}`;
  const archive = openSync(staging, "w");
  for (const piece of pieces) writeSync(archive, piece);
  closeSync(archive);
  renameSync(staging, `${base}.tar`);
  writeFileSync(`${base}.spdx.json`, sbom);
  const facts: ImageFacts = { reference: imageReference(heraldVersion), digest, unpackedBytes, archiveBytes: statSync(`${base}.tar`).size, inputs };
  writeFileSync(`${base}.json`, `${JSON.stringify(facts, null, 2)}\n`);
  report(facts, "is built");
}

/** Sum over every entry and over the programs that pack them. */
function inputsOf({ layers, ...rest }: Image): string {
  const hash = createHash("sha256").update(JSON.stringify(rest));
  for (const entry of layers.flatMap(({ entries }) => entries)) {
    const { path, kind } = entry;
    hash.update(JSON.stringify(entry.kind === "file" ? { path, mode: entry.mode, sum: createHash("sha256").update(entry.content).digest("hex") } : { path, kind }));
  }
  for (const source of ["tar.ts", "gzip.ts", "image-archive.ts"]) hash.update(readFileSync(join(import.meta.dirname, "oci", source)));
  return hash.digest("hex");
}

function report({ digest, unpackedBytes, archiveBytes }: ImageFacts, state: string): void {
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
  console.log(`image: ${base}.tar ${state}: ${digest}, ${megabytes(unpackedBytes)} unpacked, ${megabytes(archiveBytes)} packed`);
}
