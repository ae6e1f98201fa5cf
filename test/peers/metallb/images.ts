/** MetalLB itself, in images that `scripts/setup peers` makes from its published Go module. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder, LabUnavailable } from "../../lab/programs.ts";

/** An image of one of MetalLB's programs. */
export interface MetalLbImage {
  /** What a pod spec says. */
  readonly reference: string;
  /** Archive for `ctr -n k8s.io images import`. */
  readonly archive: string;
}

/** Images of MetalLB's controller and speaker. @throws LabUnavailable when scripts/setup has not made them. */
export function metalLbImages(): { readonly controller: MetalLbImage; readonly speaker: MetalLbImage } {
  return { controller: imageOf("controller"), speaker: imageOf("speaker") };
}

function imageOf(program: "controller" | "speaker"): MetalLbImage {
  const version = /^require go\.universe\.tf\/metallb (\S+)$/m.exec(readFileSync(join(import.meta.dirname, "go.mod"), "utf8"))?.[1];
  const archive = join(cacheFolder(), "images", `metallb-${program}-${version}.tar`);
  if (!existsSync(archive)) throw new LabUnavailable(`This needs an image of MetalLB's ${program}, which is not built on this machine: run 'scripts/setup peers'.`);
  return { reference: `herald.invalid/lab/metallb-${program}:${version}`, archive };
}
