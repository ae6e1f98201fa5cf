/** Reads an archive of an image back, as a container runtime does: OCI image layout, every digest checked. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

interface Descriptor {
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly platform?: { readonly architecture: string; readonly os: string };
}

export interface ReadImage {
  readonly descriptor: Descriptor;
  readonly config: {
    readonly architecture: string;
    readonly config: { readonly User: string; readonly Entrypoint: readonly string[]; readonly Cmd: readonly string[]; readonly Env: readonly string[]; readonly Labels: Readonly<Record<string, string>> };
    readonly rootfs: { readonly diff_ids: readonly string[] };
  };
  /** What `docker load` of before OCI layouts reads. */
  readonly dockerManifest: readonly { readonly Config: string; readonly RepoTags: readonly string[]; readonly Layers: readonly string[] }[];
  /** Layer files inside the layout, lowest first. */
  readonly layers: readonly string[];
  /** Sum of the layers' tar archives, bytes. */
  readonly unpackedBytes: number;
  /** Folder that all layers were unpacked into. */
  readonly root: string;
}

/** @param folder where layout and contents are unpacked to. */
export function readImage(archive: string, folder: string): ReadImage {
  const layout = join(folder, "layout");
  const root = join(folder, "root");
  for (const path of [layout, root]) mkdirSync(path, { recursive: true });
  execFileSync("tar", ["--extract", "--file", archive, "--directory", layout]);
  const json = <T>(path: string): T => JSON.parse(readFileSync(join(layout, path), "utf8")) as T;
  const blob = ({ digest, size }: Descriptor): string => {
    const path = `blobs/${digest.replace(":", "/")}`;
    const content = readFileSync(join(layout, path));
    assert.equal(`sha256:${createHash("sha256").update(content).digest("hex")}`, digest);
    assert.equal(content.length, size);
    return path;
  };
  const [descriptor] = json<{ manifests: Descriptor[] }>("index.json").manifests;
  assert.ok(descriptor);
  const manifest = json<{ config: Descriptor; layers: Descriptor[] }>(blob(descriptor));
  const layers = manifest.layers.map(blob);
  const config = json<ReadImage["config"]>(blob(manifest.config));
  let unpackedBytes = 0;
  for (const [index, layer] of layers.entries()) {
    const tar = gunzipSync(readFileSync(join(layout, layer)));
    assert.equal(`sha256:${createHash("sha256").update(tar).digest("hex")}`, config.rootfs.diff_ids[index]);
    unpackedBytes += tar.length;
    execFileSync("tar", ["--extract", "--no-same-owner", "--preserve-permissions", "--file", "-", "--directory", root], { input: tar });
  }
  return { descriptor, config, dockerManifest: json("manifest.json"), layers, unpackedBytes, root };
}
