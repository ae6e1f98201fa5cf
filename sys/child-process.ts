/**
 * A Node program that runs once beside this one: text in, text out. What it loads goes back to the system with it.
 */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Most characters taken of a child's output, and of its complaints for a message. */
const MAX_OUTPUT = 1024 * 1024;
const MAX_COMPLAINT = 500;

/**
 * Runs the program at `entry` with `input` on its standard input, and resolves with what it wrote to standard output.
 * @throws Error with a sentence when it can't be started, exits with another code than 0, or takes longer than `timeoutMs`.
 */
export function runNodeProgram(options: { readonly entry: URL; readonly input: string; readonly timeoutMs: number }): Promise<string> {
  return new Promise((resolve, reject) => {
    const path = fileURLToPath(options.entry);
    // An empty environment: what is in ours is for us alone.
    const child = spawn(process.execPath, [path], { stdio: ["pipe", "pipe", "pipe"], env: {}, timeout: options.timeoutMs, killSignal: "SIGKILL" });
    let output = "";
    let complaint = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text.slice(0, MAX_OUTPUT - output.length);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaint += text.slice(0, MAX_COMPLAINT - complaint.length);
    });
    // A child that ends before it has read everything says so by its exit code.
    child.stdin.on("error", () => {});
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${path} ended with ${signal ?? code}: ${complaint.trim()}`));
    });
    child.stdin.end(options.input);
  });
}

/** Everything on standard input, as text. */
export async function readStandardInput(): Promise<string> {
  let text = "";
  for await (const part of process.stdin.setEncoding("utf8")) text += part;
  return text;
}
