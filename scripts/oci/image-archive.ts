/**
 * Writes one container image as one file that `ctr images import`, `docker load` and `podman load` take: a tar archive with
 * an OCI image layout (OCI image specification, image-layout.md) and, for older dockers, a `manifest.json` that names the same blobs.
 * Same input, same bytes.
 */
import { createHash } from "node:crypto";
import { gzipTar } from "./gzip.ts";
import { type TarEntry, tarArchive } from "./tar.ts";

/** Architectures by the name that images have for them (Go's). */
export type ImageArchitecture = "amd64" | "arm64";

export interface Layer {
  /** What the image's history says of it. */
  readonly comment: string;
  readonly entries: readonly TarEntry[];
}

/** What a container of the image is started with. OCI image specification, config.md. */
export interface ContainerDefaults {
  readonly entrypoint: readonly string[];
  readonly command?: readonly string[];
  /** `KEY=value` each. */
  readonly environment?: readonly string[];
  /** `uid:gid`; root when left out. */
  readonly user?: string;
  readonly workingDirectory?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface Image {
  /** With registry, e.g. `docker.io/library/herald:0.1.0`. */
  readonly reference: string;
  readonly architecture: ImageArchitecture;
  /** Seconds since 1970: creation time of the image and modification time of every file in it. */
  readonly createdSeconds: number;
  readonly layers: readonly Layer[];
  readonly defaults: ContainerDefaults;
  /** Layers are gzipped; it costs seconds per 100 MB. */
  readonly compressed: boolean;
}

export interface ImageArchive {
  /** Of the image's manifest, `sha256:...`: what a registry or a container runtime calls the image's digest. */
  readonly digest: string;
  /** Sum of the layers unpacked, bytes. */
  readonly unpackedBytes: number;
  /** The file, piece by piece. */
  readonly pieces: readonly Uint8Array[];
}

interface Blob {
  readonly digest: string;
  readonly content: Uint8Array;
}

/** Builds the archive in memory. */
export function imageArchive(image: Image): ImageArchive {
  const layers = image.layers.map((layer) => packLayer(layer, image));
  const config = jsonBlob(configuration(image, layers.map(({ diffId }) => diffId)));
  const layerType = `application/vnd.oci.image.layer.v1.tar${image.compressed ? "+gzip" : ""}`;
  const manifest = jsonBlob({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: descriptor("application/vnd.oci.image.config.v1+json", config),
    layers: layers.map(({ blob }) => descriptor(layerType, blob)),
    ...(image.defaults.labels === undefined ? {} : { annotations: image.defaults.labels }),
  });
  const index = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [
      {
        ...descriptor("application/vnd.oci.image.manifest.v1+json", manifest),
        annotations: { "io.containerd.image.name": image.reference, "org.opencontainers.image.ref.name": tagOf(image.reference) },
        platform: { architecture: image.architecture, os: "linux" },
      },
    ],
  };
  const blobs = [...layers.map(({ blob }) => blob), config, manifest];
  const dockerManifest = [{ Config: blobPath(config), RepoTags: [familiarReference(image.reference)], Layers: layers.map(({ blob }) => blobPath(blob)) }];
  const file = (path: string, content: Uint8Array): TarEntry => ({ kind: "file", path, mode: 0o644, content });
  const pieces = tarArchive(
    [
      file("oci-layout", json({ imageLayoutVersion: "1.0.0" })),
      file("index.json", json(index)),
      file("manifest.json", json(dockerManifest)),
      ...new Map(blobs.map((blob) => [blob.digest, file(blobPath(blob), blob.content)])).values(),
    ],
    image.createdSeconds,
  );
  return { digest: `sha256:${manifest.digest}`, unpackedBytes: layers.reduce((sum, { unpackedBytes }) => sum + unpackedBytes, 0), pieces };
}

function packLayer(layer: Layer, image: Image): { blob: Blob; diffId: string; unpackedBytes: number } {
  const tar = Buffer.concat(tarArchive(layer.entries, image.createdSeconds));
  const diffId = `sha256:${sha256(tar)}`;
  if (!image.compressed) return { blob: { digest: sha256(tar), content: tar }, diffId, unpackedBytes: tar.length };
  const content = gzipTar([tar]);
  return { blob: { digest: sha256(content), content }, diffId, unpackedBytes: tar.length };
}

function configuration(image: Image, diffIds: readonly string[]): object {
  const created = new Date(image.createdSeconds * 1000).toISOString();
  const { entrypoint, command, environment, user, workingDirectory, labels } = image.defaults;
  return {
    created,
    architecture: image.architecture,
    os: "linux",
    config: {
      ...(user === undefined ? {} : { User: user }),
      Env: environment ?? [],
      Entrypoint: entrypoint,
      ...(command === undefined ? {} : { Cmd: command }),
      WorkingDir: workingDirectory ?? "/",
      ...(labels === undefined ? {} : { Labels: labels }),
    },
    rootfs: { type: "layers", diff_ids: diffIds },
    history: image.layers.map(({ comment }) => ({ created, created_by: comment })),
  };
}

/** docker's short spelling of a reference of its own registry. */
function familiarReference(reference: string): string {
  return reference.replace(/^docker\.io\/library\//, "");
}

function tagOf(reference: string): string {
  const tag = /:([\w][\w.-]{0,127})$/.exec(reference)?.[1];
  if (tag === undefined) throw new Error(`${reference} has no tag`);
  return tag;
}

function descriptor(mediaType: string, blob: Blob): { mediaType: string; digest: string; size: number } {
  return { mediaType, digest: `sha256:${blob.digest}`, size: blob.content.length };
}

function blobPath(blob: Blob): string {
  return `blobs/sha256/${blob.digest}`;
}

function jsonBlob(value: unknown): Blob {
  const content = json(value);
  return { digest: sha256(content), content };
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
