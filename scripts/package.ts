/**
 * Packs charts/herald into the archive that `helm install` takes, dist/herald-VERSION.tgz: what `helm package` makes, but with
 * the same bytes from the same chart, and without helm.
 * `node scripts/package.ts [--out DIR]`
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { load } from "js-yaml";
import { heraldVersion } from "../config/version.ts";
import { gzipTar } from "./oci/gzip.ts";
import { type TarEntry, tarArchive } from "./oci/tar.ts";

const root = resolve(import.meta.dirname, "..");
const chart = join(root, "charts/herald");

const { values } = parseArgs({ options: { out: { type: "string", default: join(root, "dist") } } });
checkVersions();
const archive = join(values.out, `herald-${heraldVersion}.tgz`);
const content = gzipTar(tarArchive(chartEntries(), 0));
if (existsSync(archive) && readFileSync(archive).equals(content)) {
  console.log(`package: ${archive} is up to date`);
} else {
  mkdirSync(values.out, { recursive: true });
  const staging = `${archive}.new-${process.pid}`;
  writeFileSync(staging, content);
  renameSync(staging, archive);
  console.log(`package: ${archive} is packed`);
}

/** The version has one home, package.json. */
function checkVersions(): void {
  const { version, appVersion } = load(readFileSync(join(chart, "Chart.yaml"), "utf8")) as { version?: string; appVersion?: string };
  if (version !== heraldVersion || appVersion !== heraldVersion) {
    throw new Error(`charts/herald/Chart.yaml says version ${String(version)}, appVersion ${String(appVersion)}; package.json says ${heraldVersion}: make them equal`);
  }
}

function chartEntries(): TarEntry[] {
  const ignored = ignoredNames();
  return readdirSync(chart, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(chart.length + 1))
    .filter((path) => !path.split("/").some((name) => ignored.some((pattern) => pattern.test(name))))
    .map((path) => ({ kind: "file", path: `herald/${path}`, mode: 0o644, content: readFileSync(join(chart, path)) }));
}

/** The patterns of .helmignore, each for the name of a file or folder. @throws Error for one that needs more of helm's rules. */
function ignoredNames(): RegExp[] {
  const lines = readFileSync(join(chart, ".helmignore"), "utf8").split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return lines.map((line) => {
    if (/[^\w.*~-]/.test(line)) throw new Error(`charts/herald/.helmignore: "${line}" is not a plain name with stars, which is all that scripts/package.ts knows`);
    return new RegExp(`^${line.replaceAll(".", "\\.").replaceAll("*", ".*")}$`);
  });
}
