/** From what observers say of a silent peer to a verdict. Pure. */

import type { VerdictClass } from "./detection-protocol.ts";
import type { DeathClass } from "./peer-watch.ts";

/**
 * What follows from the classes that as many distinct observers name, or undefined while that is not enough.
 * `refused` is a kernel's own word and needs no second. Otherwise `needed` of them must agree that the process is silent;
 * if only one of them hears the kernel answer, the machine runs and the process is paused.
 */
export function verdictOf(classes: readonly DeathClass[], needed: number): VerdictClass | undefined {
  if (classes.includes("refused")) return "processGone";
  if (classes.length < needed) return undefined;
  return classes.includes("paused") ? "paused" : "powerOff";
}
