/** Which npm packages went into the bundles of dist/, with their versions and licences. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Part } from "./sbom.ts";

/** What is read of esbuild's metafile. */
export interface Metafile {
  readonly outputs: Readonly<Record<string, { readonly inputs: Readonly<Record<string, { readonly bytesInOutput: number }>> }>>;
}

export interface BundledPackage {
  readonly part: Part;
  /** Text of its licence, when the package has one. */
  readonly license: Uint8Array | undefined;
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string | { readonly type: string };
  /** The old way of telling it. */
  readonly licenses?: readonly { readonly type: string }[];
}

/** The packages of which at least one byte is in a bundle, sorted by folder. @param root checkout that was built. */
export function bundledPackages(root: string, { outputs }: Metafile): BundledPackage[] {
  const folders = new Set<string>();
  for (const { inputs } of Object.values(outputs)) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      const folder = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0];
      if (folder !== undefined && bytesInOutput > 0) folders.add(folder);
    }
  }
  if (folders.size === 0) throw new Error("esbuild's metafile names no package: bundles without one are not what this repository makes");
  return [...folders].toSorted().map((folder) => describePackage(join(root, folder)));
}

/** What the package in a folder says of itself. */
export function describePackage(folder: string): BundledPackage {
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
  return {
    part: { name: manifest.name, version: manifest.version, license: licenseOf(manifest), purl: `pkg:npm/${manifest.name.replace("@", "%40")}@${manifest.version}` },
    license: licenseText(folder),
  };
}

function licenseOf({ license, licenses }: Manifest): string | undefined {
  if (typeof license === "string") return license;
  return license?.type ?? licenses?.map(({ type }) => type).join(" AND ");
}

function licenseText(folder: string): Uint8Array | undefined {
  const name = existsSync(folder) ? readdirSync(folder).toSorted().find((entry) => /^licen[cs]e(\.(md|txt))?$/i.test(entry)) : undefined;
  return name === undefined ? undefined : readFileSync(join(folder, name));
}
