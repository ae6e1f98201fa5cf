/**
 * Debian packages for another architecture than this machine's: fetched by apt with folders, lists and sources of its own, so
 * that nothing of the machine's own set-up is touched; apt checks the signatures.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ImageArchitecture } from "./image-archive.ts";

/** The Debian release whose libraries go into images that are built for another architecture than the building machine's. */
const RELEASE = "bookworm";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  /** Whose package it is, as package URLs and os-release(5) spell it: "debian", "ubuntu". */
  readonly distribution: string;
}

/**
 * A folder with the contents of the packages, unpacked as they would be into a root file system.
 * @param folder where lists, archives and contents are kept between runs.
 * @throws Error when apt or dpkg-deb is missing or fails; its message is part of it.
 */
export function unpackDebianPackages({ architecture, names, folder }: { architecture: ImageArchitecture; names: readonly string[]; folder: string }): { root: string; packages: DebianPackage[] } {
  const root = join(folder, "root");
  const archives = join(folder, "archives");
  if (fetched(archives, names).length < names.length || !existsSync(root)) {
    // Moved into place when whole: an interrupted download or half a library is never taken for the real one.
    const staging = { root: `${root}.new`, archives: `${archives}.new` };
    for (const path of [root, archives, staging.root, staging.archives]) rmSync(path, { recursive: true, force: true });
    mkdirSync(staging.root, { recursive: true });
    mkdirSync(staging.archives, { recursive: true });
    fetch({ architecture, names, folder, archives: staging.archives });
    for (const file of fetched(staging.archives, names)) run("dpkg-deb", ["--extract", file, staging.root]);
    renameSync(staging.archives, archives);
    renameSync(staging.root, root);
  }
  return { root, packages: fetched(archives, names).map(describe) };
}

function fetched(archives: string, names: readonly string[]): string[] {
  const files = existsSync(archives) ? readdirSync(archives) : [];
  return names.flatMap((name) => files.filter((file) => file.startsWith(`${name}_`) && file.endsWith(".deb")).map((file) => join(archives, file)));
}

function fetch({ architecture, names, folder, archives }: { architecture: ImageArchitecture; names: readonly string[]; folder: string; archives: string }): void {
  for (const part of ["state/lists/partial", "cache/archives/partial"]) mkdirSync(join(folder, part), { recursive: true });
  writeFileSync(join(folder, "status"), "");
  writeFileSync(join(folder, "sources.list"), archivesOfRelease().map(([suite, address]) => `deb [signed-by=${KEYRING}] ${address} ${suite} main\n`).join(""));
  const settings = [
    `APT::Architecture=${architecture}`,
    `APT::Architectures=${architecture}`,
    `Dir::State=${join(folder, "state")}`,
    `Dir::State::status=${join(folder, "status")}`,
    `Dir::Cache=${join(folder, "cache")}`,
    `Dir::Etc::sourcelist=${join(folder, "sources.list")}`,
    "Dir::Etc::sourceparts=/dev/null",
    "Acquire::Languages=none",
    "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
    "APT::Sandbox::User=",
  ].flatMap((setting) => ["-o", setting]);
  run("apt-get", [...settings, "-q", "update"]);
  run("apt-get", [...settings, "-q", "download", ...names], archives);
  // The lists are tens of megabytes and of no use once the packages are there.
  for (const part of ["state", "cache"]) rmSync(join(folder, part), { recursive: true, force: true });
}

/** The release and its security updates, each with the address of the archive that this machine's own apt takes it from. @throws Error when it takes none from there */
function archivesOfRelease(): [suite: string, address: string][] {
  const suites = new Map(run("apt-get", ["indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]).split("\n").map((line) => {
    const [suite = "", address = ""] = line.split(" ");
    return [suite, address] as const;
  }));
  return [RELEASE, `${RELEASE}-security`].map((suite) => {
    const address = suites.get(suite);
    if (address === undefined) throw new Error(`apt's sources have no ${suite}: an image for another architecture takes its libraries from there, so build it on Debian ${RELEASE} or add it to the sources`);
    return [suite, address];
  });
}

function describe(file: string): DebianPackage {
  const [name = "", version = ""] = run("dpkg-deb", ["--show", "--showformat=${Package}\\n${Version}\\n", file]).split("\n");
  return { name, version, distribution: "debian" };
}

function run(program: string, parameters: readonly string[], cwd?: string): string {
  return execFileSync(program, parameters, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], ...(cwd === undefined ? {} : { cwd }) });
}

/** The Debian package that owns a file of this machine, undefined where dpkg is missing or does not know the file. */
export function owningPackage(path: string): DebianPackage | undefined {
  // On a system whose /lib is a link to /usr/lib the package may list either name.
  for (const candidate of [path, path.startsWith("/usr/") ? path.slice("/usr".length) : `/usr${path}`]) {
    try {
      const owner = run("dpkg-query", ["--search", candidate]).split(": ")[0] ?? "";
      const [name = "", version = ""] = run("dpkg-query", ["--show", "--showformat=${Package}\\n${Version}\\n", owner]).split("\n");
      return { name, version, distribution: distributionId() };
    } catch {
      continue;
    }
  }
  return undefined;
}

/** This machine's ID in os-release(5). */
function distributionId(): string {
  return /^ID="?([\w.-]+)"?$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1] ?? "linux";
}

/** What a package says of its licence, below the root that it is installed in; undefined when the file was left out. */
export function copyrightOf(root: string, name: string): Uint8Array | undefined {
  try {
    return readFileSync(join(root, "usr/share/doc", name, "copyright"));
  } catch {
    return undefined;
  }
}
