import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { Lab, whyNoLab } from "../test/lab/lab.ts";

const root = resolve(import.meta.dirname, "..");

export interface InLabOptions {
  /** Name of the lab, so that benches may run side by side with other labs. */
  readonly name: string;
  /** Host that the program runs on; it reaches the API server from each. */
  readonly host: string;
  /** The program, below bench/. */
  readonly program: string;
  /** YAML applied before it starts. */
  readonly manifests?: string;
}

/**
 * Runs a bench's inner program on a host of a fresh three-node lab with Herald's resources installed and no Herald
 * running. What it prints is printed; its exit code becomes ours. The lab is taken down in any case.
 */
export async function runInLab({ name, host, program, manifests }: InLabOptions): Promise<void> {
  const reason = whyNoLab() ?? (existsSync(join(root, "dist/controller.mjs")) ? undefined : "dist/ is missing: run npm run build");
  if (reason !== undefined) {
    console.error(`${program}: ${reason}`);
    process.exitCode = 2;
    return;
  }
  const lab = await Lab.up({ name, nodes: 3 });
  try {
    await lab.kubectl(["create", "namespace", "metallb-system"]);
    await lab.kubectl(["apply", "--server-side", "-f", join(root, "crds")]);
    await lab.kubectl(["wait", "--for=condition=Established", "--timeout=30s", "-f", join(root, "crds")]);
    if (manifests !== undefined) await lab.apply(manifests);
    const child = spawn("nsenter", [`--net=/run/netns/${lab.namespace(host)}`, process.execPath, join(root, "bench", program)], {
      env: { ...process.env, KUBECONFIG: join(lab.logFolder, "../kubeconfig") },
      stdio: ["ignore", "inherit", "inherit"],
    });
    process.exitCode = await new Promise<number>((done) => child.on("close", (code) => done(code ?? 1)));
  } finally {
    await lab.down({ failed: process.exitCode !== 0 });
  }
}
