import { defineConfig } from "vitest/config";
import { ReportWriter } from "./scripts/report-writer.ts";

/** Set by scripts/test.ts: where to write what the run came to. */
const reportPath = process.env["HERALD_TEST_REPORT"];

/** Two projects: `unit` is quick and needs no root; `lab` builds network namespaces and runs real Kubernetes in them. */
const config = defineConfig({
  test: {
    reporters: reportPath === undefined ? ["default"] : ["default", new ReportWriter(reportPath)],
    projects: [
      {
        test: {
          name: "unit",
          include: ["{config,controller,kube,speaker,sys,wire,cli,scripts}/**/*.test.ts", "test/{crds,apiserver,fuzz,dist,sim,image,chart}/**/*.test.ts"],
          testTimeout: 20_000,
          hookTimeout: 60_000,
          pool: "forks",
        },
      },
      {
        test: {
          name: "lab",
          include: ["test/lab/**/*.test.ts"],
          // On a machine that is three times as slow; whoever waits in vain says so long before.
          testTimeout: 900_000,
          hookTimeout: 600_000,
          pool: "forks",
          // Lab tests wait more than they compute: three labs side by side keep two cores busy.
          maxWorkers: 3,
        },
      },
    ],
  },
});
// vitest reads a default export: the only one in this repository.
export default config;
