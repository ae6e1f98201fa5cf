/** npm packages for another architecture than this machine's, which `npm ci` leaves out: fetched once, checked against package-lock.json. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

export interface NpmPackageFinder {
  /** Checkout with package-lock.json and node_modules. */
  readonly root: string;
  /** The cache of scripts/setup. */
  readonly cache: string;
}

interface Lock {
  readonly packages: Readonly<Record<string, { readonly version: string; readonly integrity?: string; readonly license?: string }>>;
}

/** The version of a package that package-lock.json pins at the top of node_modules. @throws Error when it does not. */
export function lockedPackage(root: string, name: string): { version: string; integrity: string } {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as Lock;
  const entry = packages[`node_modules/${name}`];
  if (entry?.integrity === undefined) throw new Error(`package-lock.json does not pin ${name}`);
  return { version: entry.version, integrity: entry.integrity };
}

/**
 * Folder of a package that package-lock.json pins: node_modules' own, or one fetched by npm into the cache.
 * @throws Error when npm cannot fetch it or its bytes are not those that the lock file names.
 */
export function npmPackageFolder({ root, cache }: NpmPackageFinder, name: string): string {
  const installed = join(root, "node_modules", name);
  if (existsSync(installed)) return installed;
  const { version, integrity } = lockedPackage(root, name);
  const folder = join(cache, "npm", `${name.replace("/", "+")}-${version}`);
  if (existsSync(folder)) return folder;
  mkdirSync(join(cache, "npm"), { recursive: true });
  const scratch = mkdtempSync(join(cache, "npm", ".fetching-"));
  try {
    const [packed] = JSON.parse(
      execFileSync("npm", ["pack", `${name}@${version}`, "--json", "--ignore-scripts", "--pack-destination", scratch], { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }),
    ) as { filename: string }[];
    const archive = join(scratch, packed?.filename ?? "");
    const found = `sha512-${createHash("sha512").update(readFileSync(archive)).digest("base64")}`;
    if (found !== integrity) throw new Error(`${name}@${version} from npm is not what package-lock.json names: ${found}, not ${integrity}`);
    execFileSync("tar", ["--extract", "--gzip", "--no-same-owner", "--file", archive, "--directory", scratch]);
    try {
      renameSync(join(scratch, "package"), folder);
    } catch (error) {
      // Another build may have fetched the same bytes meanwhile: a folder does not replace one that has something in it.
      if (!existsSync(folder)) throw error;
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return folder;
}
