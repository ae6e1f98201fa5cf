/** What is in Herald's image, file by file: Node, the libraries that it needs, and Herald's bundles; nothing else, no shell. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { rootCertificates } from "node:tls";
import { stripElf } from "./elf.ts";
import type { Image, ImageArchitecture, Layer } from "./image-archive.ts";
import type { SharedLibrary } from "./shared-libraries.ts";
import type { TarEntry } from "./tar.ts";

export interface HeraldImageParts {
  readonly version: string;
  readonly architecture: ImageArchitecture;
  /** Folder that scripts/build.ts wrote. */
  readonly dist: string;
  /** Node's program as published. */
  readonly node: Uint8Array;
  readonly libraries: readonly SharedLibrary[];
  /** SPDX in JSON. */
  readonly sbom: string;
  /** Licence texts by the name of what they are for. */
  readonly licenses: ReadonlyMap<string, Uint8Array>;
}

/** The name by which container runtimes know the image; a chart that says `herald:VERSION` means this one. */
export function imageReference(version: string): string {
  return `docker.io/library/herald:${version}`;
}

/** The user that containers run as when nobody says otherwise. */
const NOBODY = 65534;

/** The image, whose bytes depend on nothing but the parts. */
export function heraldImage(parts: HeraldImageParts): Image {
  return {
    reference: imageReference(parts.version),
    architecture: parts.architecture,
    createdSeconds: 0,
    // Two layers: the first stays the same from one version of Herald to the next as long as Node does.
    layers: [nodeLayer(parts), heraldLayer(parts)],
    defaults: {
      entrypoint: ["/usr/local/bin/node"],
      // Without arguments it says what it is.
      command: ["/opt/herald/controller.mjs", "--version"],
      // More of glibc's arenas than two cost 3.5 MB and bring nothing here (docs/adr/0008-memory.md).
      environment: ["PATH=/usr/local/bin", "MALLOC_ARENA_MAX=2"],
      user: `${NOBODY}:${NOBODY}`,
      workingDirectory: "/",
      labels: {
        "org.opencontainers.image.title": "herald",
        "org.opencontainers.image.description": "Bare-metal LoadBalancer for Kubernetes: controller and speaker",
        "org.opencontainers.image.version": parts.version,
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.vendor": "Herald",
      },
    },
    compressed: true,
  };
}

function nodeLayer({ node, libraries, licenses }: HeraldImageParts): Layer {
  return {
    comment: "Node, the shared libraries that it needs, certificates of public authorities",
    entries: [
      file("usr/local/bin/node", stripElf(node), 0o755),
      ...libraries.map(({ path, content }) => file(path.slice(1), content, 0o755)),
      file("etc/ssl/certs/ca-certificates.crt", `${rootCertificates.join("\n")}\n`),
      file("etc/passwd", `root:x:0:0:root:/:/sbin/nologin\nnobody:x:${NOBODY}:${NOBODY}:nobody:/:/sbin/nologin\n`),
      file("etc/group", `root:x:0:\nnobody:x:${NOBODY}:\n`),
      file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
      { kind: "directory", path: "tmp", mode: 0o1777 },
      ...[...licenses].map(([name, text]) => file(`usr/share/licenses/${name}`, text)),
    ],
  };
}

function heraldLayer({ dist, sbom }: HeraldImageParts): Layer {
  const paths = readdirSync(dist, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return {
    comment: "Herald",
    entries: [
      ...paths.map(({ parentPath, name }) => join(parentPath, name)).map((path) => file(`opt/herald${path.slice(dist.length)}`, readFileSync(path))),
      file("usr/share/sbom/herald.spdx.json", sbom),
    ],
  };
}

function file(path: string, content: Uint8Array | string, mode = 0o644): TarEntry {
  return { kind: "file", path, mode, content: typeof content === "string" ? Buffer.from(content) : content };
}
