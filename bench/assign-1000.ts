/** 1,000 pending Services, controller started on them. See `assign-1000-inside.ts`. */
import { runInLab } from "./in-lab.ts";

await runInLab({ name: "bench-assign", host: "control", program: "assign-1000-inside.ts" });
