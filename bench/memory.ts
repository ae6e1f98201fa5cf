/** Memory of controller and speaker, idle and with 1,000 Services. See `memory-inside.ts`. */
import { deployment } from "../test/lab/walkthrough/manifests.ts";
import { runInLab } from "./in-lab.ts";

await runInLab({ name: "bench-memory", host: "node1", program: "memory-inside.ts", manifests: deployment({ name: "bench" }) });
