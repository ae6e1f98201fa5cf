import { spawn } from "node:child_process";
import { expect, test } from "vitest";

const url = JSON.stringify(new URL("./process.ts", import.meta.url).href);

/** Runs a script in a Node of its own; sends `signals` one after another, each after the script has printed a line. */
async function run(script: string, signals: readonly NodeJS.Signals[]): Promise<{ code: number | null; out: string }> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "ignore"] });
  const left = [...signals];
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk.toString();
    const next = left.shift();
    if (next !== undefined) child.kill(next);
  });
  const code = await new Promise<number | null>((resolve) => {
    child.on("close", resolve);
  });
  return { code, out };
}

test("the first signal is told, the second ends the process", async () => {
  const script = `import { stopSignal } from ${url}; setInterval(() => {}, 1000); stopSignal().then((s) => console.log(s)); console.log("up");`;
  expect(await run(script, ["SIGTERM", "SIGINT"])).toEqual({ code: 130, out: "up\nSIGTERM\n" });
});

test("an error that nobody caught is reported and ends the process with 1", async () => {
  const script = `import { onFatal } from ${url}; onFatal((e) => console.log(e.message)); Promise.reject(new Error("lost")); setInterval(() => {}, 1000);`;
  expect(await run(script, [])).toEqual({ code: 1, out: "lost\n" });
});
