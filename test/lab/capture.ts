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
  /**
   * Ends the capture and returns its frames as tcpdump prints them with `-e -n -tt`: seconds since
   * the epoch, both MACs in lower case, type, and what was understood.
   */
  stop(): Promise<string[]>;
}

/** Where and what to capture. */
export interface CaptureOptions {
  readonly namespace: string;
  readonly host: string;
  readonly filter: string;
  readonly folder: string;
}

let captures = 0;

/** Starts tcpdump on eth0 and returns when it listens. @throws Error when it does not. */
export async function startCapture(options: CaptureOptions): Promise<Capture> {
  mkdirSync(options.folder, { recursive: true });
  captures += 1;
  const path = join(options.folder, `${options.host}-${process.pid}-${captures}.pcap`);
  // It would become the user tcpdump, who may not write here; -U so that the file is never behind.
  const argv = [programPath("tcpdump"), "-i", "eth0", "-U", "-Z", "root", "--immediate-mode", "-w", path, options.filter];
  const child = spawn("nsenter", nsenterArgv(options.namespace, argv), { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  child.on("error", (error) => (said += error.message));
  await poll(() => {
    if (child.exitCode !== null) throw new Error(`tcpdump ended: ${said}`);
    return said.includes("listening on");
  }, { timeoutMs: 10_000, intervalMs: 20, what: "tcpdump to listen" });
  return { path, stop: () => stopCapture(child, path) };
}

async function stopCapture(child: ChildProcess, path: string): Promise<string[]> {
  if (child.exitCode === null && child.signalCode === null) {
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await gone;
  }
  const { stdout } = await run(programPath("tcpdump"), ["-r", path, "-e", "-n", "-tt"], { maxBuffer: 64 << 20 });
  return stdout.split("\n").filter((line) => line !== "");
}
