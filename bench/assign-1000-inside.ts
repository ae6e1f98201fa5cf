/** The part of `assign-1000.ts` that runs on the lab's control host. Prints figures. */
import { systemClock } from "../sys/clock.ts";
import { services } from "../kube/objects.ts";
import { NAMESPACE, clearStatuses, connect, createPool, createServices, forAll, median, serviceNames, startProgram, stopProgram, untilAssigned } from "./cluster-load.ts";
import { printFigure } from "./figure.ts";

const COUNT = 1000;
const RUNS = 5;
const TIMEOUT_MS = 60_000;

const client = connect();
const names = serviceNames(COUNT);
await createPool(client);
await createServices(client, names, "none");

const total: number[] = [];
const rate: number[] = [];
const plainRate: number[] = [];
const ratio: number[] = [];
for (let run = 0; run < RUNS; run++) {
  await clearStatuses(client, names);
  const waiting = untilAssigned(client, COUNT, TIMEOUT_MS);
  const start = performance.now();
  const controller = startProgram("controller.mjs", ["--port=0", "--health-probe-port=0", "--log-level=error"]);
  const { first, last } = await waiting;
  await stopProgram(controller);
  total.push((last - start) / 1000);
  rate.push((COUNT - 1) / ((last - first) / 1000));
  await clearStatuses(client, names);
  plainRate.push(await patchPlainly());
  ratio.push((rate.at(-1) ?? Number.NaN) / (plainRate.at(-1) ?? Number.NaN));
  console.log(`run ${run + 1}: ${total.at(-1)?.toFixed(2)} s, ${rate.at(-1)?.toFixed(0)}/s; plain ${plainRate.at(-1)?.toFixed(0)}/s`);
}
client.close();

printFigure({ bench: "assign-1000", case: "controller's rate, as a part of the plain program's in the same run", metric: "median", value: median(ratio), unit: "", samples: RUNS });
for (const [metric, pick] of [["median", median], ["best", (values: readonly number[]) => Math.min(...values)], ["worst", (values: readonly number[]) => Math.max(...values)]] as const) {
  printFigure({ bench: "assign-1000", case: "controller started -> last Service has its address", metric, value: pick(total), unit: "s", samples: RUNS, goal: "< 2.5 s" });
}
printFigure({ bench: "assign-1000", case: "first to last address", metric: "median", value: median(rate), unit: "patches/s", samples: RUNS });
printFigure({ bench: "assign-1000", case: "plain program, the same patch, 32 in flight", metric: "median", value: median(plainRate), unit: "patches/s", samples: RUNS });

/** As fast as the API server takes them: no decisions, no events. Watched as the controller is, so that the watch costs both the same. Patches per second. */
async function patchPlainly(): Promise<number> {
  const waiting = untilAssigned(client, COUNT, TIMEOUT_MS);
  const lastTransitionTime = new Date(systemClock.wallMs()).toISOString();
  await forAll(names, (name, index) =>
    client.patch(
      services,
      { namespace: NAMESPACE, name },
      {
        metadata: { annotations: { "metallb.io/ip-allocated-from-pool": "bench" } },
        status: {
          loadBalancer: { ingress: [{ ip: `172.20.${16 + (index >> 8)}.${index & 255}`, ipMode: "VIP" }] },
          conditions: [{ type: "metallb.io/AddressAssigned", status: "True", reason: "Assigned", message: "plain program", lastTransitionTime }],
        },
      },
      { subresource: "status" },
    ),
  );
  const { first, last } = await waiting;
  return (COUNT - 1) / ((last - first) / 1000);
}
