/** Which shared libraries a program needs, and where the dynamic linker finds them: what ldd tells, for any architecture and without running it. */
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { readElf } from "./elf.ts";
import type { ImageArchitecture } from "./image-archive.ts";

export interface SharedLibrary {
  /** Where programs look for it, absolute inside the root: `/lib64/ld-linux-x86-64.so.2`, `/lib/x86_64-linux-gnu/libc.so.6`. */
  readonly path: string;
  /** The file that is there in the end, absolute on this machine, all links followed. */
  readonly file: string;
  readonly content: Uint8Array;
}

const TRIPLETS: Readonly<Record<ImageArchitecture, string>> = { amd64: "x86_64-linux-gnu", arm64: "aarch64-linux-gnu" };

/**
 * All that the programs need, theirs and one another's, with the dynamic linker; sorted by path.
 * @param root file system whose libraries are taken, "/" for this machine's.
 * @throws Error naming the library that is nowhere, or a program for another architecture.
 */
export function sharedLibraries({ programs, architecture, root }: { programs: readonly Uint8Array[]; architecture: ImageArchitecture; root: string }): SharedLibrary[] {
  const found = new Map<string, SharedLibrary>();
  const queue = programs.map((content, index) => ({ content, name: `program ${index + 1}` }));
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const facts = readElf(next.content);
    if (facts.architecture !== architecture) throw new Error(`${next.name} is for ${String(facts.architecture)}, not for ${architecture}`);
    const wanted = facts.interpreter === undefined ? facts.needed : [facts.interpreter, ...facts.needed];
    for (const name of wanted) {
      const key = name.slice(name.lastIndexOf("/") + 1);
      if (found.has(key)) continue;
      const library = find({ name, architecture, root });
      if (library === undefined) throw new Error(`${next.name} needs ${name}, which is not in ${searched(architecture).join(", ")} of ${root}`);
      found.set(key, library);
      queue.push({ content: library.content, name: library.path });
    }
  }
  return [...found.values()].toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

function find({ name, architecture, root }: { name: string; architecture: ImageArchitecture; root: string }): SharedLibrary | undefined {
  const paths = name.startsWith("/") ? [name] : searched(architecture).map((folder) => `${folder}/${name}`);
  for (const path of paths) {
    if (!existsSync(join(root, path))) continue;
    const file = realpathSync(join(root, path));
    const content = readFileSync(file);
    if (readElf(content).architecture === architecture) return { path, file, content };
  }
  return undefined;
}

/** Where glibc looks by itself: Debian's folders, then those of systems with one folder per word size. */
function searched(architecture: ImageArchitecture): string[] {
  const triplet = TRIPLETS[architecture];
  return [`/lib/${triplet}`, `/usr/lib/${triplet}`, "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
}
