import { readFileSync } from "node:fs";

/** USER_HZ, which is 100 on every Linux. */
const TICKS_PER_SECOND = 100;

/** Seconds of the processor that a running process has taken, and its children that have ended. @throws Error when there is none of that pid */
export function cpuSecondsOf(pid: number, { children = false }: { readonly children?: boolean } = {}): number {
  // utime, stime, cutime, cstime
  const ticks = statOf(pid).slice(11, children ? 15 : 13);
  return ticks.reduce((sum, value) => sum + Number(value), 0) / TICKS_PER_SECOND;
}

/** The fields of /proc/PID/stat that follow the name: the state, the parent's pid, and so on. @throws Error when there is none of that pid */
export function statOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}
