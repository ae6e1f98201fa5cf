/** Images of the full lab's own pods, which scripts/setup builds from static programs: nothing is ever pulled. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder, CHECKOUT, goSourcesSum, LabUnavailable } from "./programs.ts";

/** `pause` holds a pod's namespaces open. `backend` answers HTTP on port 8080 and UDP on 8081 as BackendAnswer; see test/lab/images/backend. */
export type LabImageName = "pause" | "backend";

export interface LabImage {
  /** What a pod spec says, with a tag and therefore never pulled when it is there. */
  readonly reference: string;
  /** Archive for `ctr -n k8s.io images import`. */
  readonly archive: string;
}

/** What a pod spec says; whether the image is built is another matter. */
export function labImageReference(name: LabImageName): string {
  return `herald.invalid/lab/${name}:${tagOf(name)}`;
}

/** @throws LabUnavailable when scripts/setup has not built it. */
export function labImage(name: LabImageName): LabImage {
  const archive = join(cacheFolder(), "images", `${name}-${tagOf(name)}.tar`);
  if (!existsSync(archive)) throw new LabUnavailable(`The full lab needs the image ${name}, which is not built on this machine: run 'scripts/setup full'.`);
  return { reference: labImageReference(name), archive };
}

function tagOf(name: LabImageName): string {
  return goSourcesSum(join(CHECKOUT, "test/lab/images", name));
}
