import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { poll } from "./poll.ts";
import { nsenterArgv } from "./processes.ts";
import { programPath } from "./programs.ts";

const run = promisify(execFile);

/** A running capture of frames. */
export interface Capture {
  /** The pcap file, kept after a failed run. */
  readonly path: string;
  /** The frames so far, as `stop` prints them. What tcpdump has not come to yet is missing: look again until it is there. */
  frames(): Promise<string[]>;
  /**
   * Ends the capture and returns its frames as tcpdump prints them with `-e -n -tt`: seconds since
   * the epoch, both MACs in lower case, type, and what was understood.
   */
  stop(): Promise<string[]>;
}

/** How long tcpdump may take to start on a busy machine. */
const LISTEN_BUDGET_MS = 60_000;

/** Where and what to capture. */
export interface CaptureOptions {
  readonly namespace: string;
  readonly host: string;
  readonly filter: string;
  readonly folder: string;
  /** eth0 when left out. */
  readonly card?: string;
}

let captures = 0;

/** Starts tcpdump and returns when it listens. @throws Error when it does not. */
export async function startCapture(options: CaptureOptions): Promise<Capture> {
  mkdirSync(options.folder, { recursive: true });
  captures += 1;
  const path = join(options.folder, `${options.host}-${process.pid}-${captures}.pcap`);
  // It would become the user tcpdump, who may not write here; -U so that the file is never behind.
  const argv = [programPath("tcpdump"), "-i", options.card ?? "eth0", "-U", "-Z", "root", "--immediate-mode", "-w", path, options.filter];
  const child = spawn("nsenter", nsenterArgv(options.namespace, argv), { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  child.on("error", (error) => (said += error.message));
  await poll(() => {
    if (child.exitCode !== null) throw new Error(`tcpdump ended: ${said}`);
    return said.includes("listening on");
  }, { timeoutMs: LISTEN_BUDGET_MS, intervalMs: 20, what: "tcpdump to listen" });
  return { path, frames: () => readFrames(path), stop: () => stopCapture(child, path) };
}

async function stopCapture(child: ChildProcess, path: string): Promise<string[]> {
  if (child.exitCode === null && child.signalCode === null) {
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await gone;
  }
  return readFrames(path);
}

async function readFrames(path: string): Promise<string[]> {
  // A file that is being written may end in half a frame, of which tcpdump complains after all the whole ones.
  const { stdout } = await run(programPath("tcpdump"), ["-r", path, "-e", "-n", "-tt"], { maxBuffer: 64 << 20 }).catch((error: unknown) => {
    if (error instanceof Error && "stderr" in error && "stdout" in error && /truncated dump file/.test(String(error.stderr))) return { stdout: String(error.stdout) };
    throw error;
  });
  return stdout.split("\n").filter((line) => line !== "");
}
