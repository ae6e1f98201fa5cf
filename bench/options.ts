import { resolve } from "node:path";

/** What `--NAME=TEXT` on the command line says; undefined when it isn't there. */
export function textOption(name: string): string | undefined {
  const prefix = `--${name}=`;
  return process.argv.find((arg) => arg.startsWith(prefix))?.slice(prefix.length);
}

/** The number that `--NAME=N` on the command line gives, or another. @throws Error when it is none */
export function numberOption(name: string, otherwise: number): number {
  const given = textOption(name);
  if (given === undefined) return otherwise;
  if (!/^\d+$/.test(given)) throw new Error(`--${name}=${given} is no number`);
  return Number(given);
}

/** Environment of a program of Herald's that leaves CPU profiles in the folder that `--profile=FOLDER` names, if it does. */
export function profilingOf(): Record<string, string> {
  const folder = textOption("profile");
  return folder === undefined ? {} : { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${resolve(folder)}` };
}
