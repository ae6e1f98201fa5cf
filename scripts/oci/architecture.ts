/** The two processor architectures that images are built for, under the names that others have for them. */
import type { ImageArchitecture } from "./image-archive.ts";

/** Node's name of each architecture, as in `process.arch` and in the names of npm packages. */
export const NODE_ARCHITECTURE: Readonly<Record<ImageArchitecture, "x64" | "arm64">> = { amd64: "x64", arm64: "arm64" };

/** The architecture of this machine. @throws Error on any other than the two. */
export function hostArchitecture(): ImageArchitecture {
  if (process.arch === "x64") return "amd64";
  if (process.arch === "arm64") return "arm64";
  throw new Error(`images are built on amd64 and arm64, not on ${process.arch}`);
}
