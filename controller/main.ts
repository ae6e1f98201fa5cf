/**
 * The controller's process: reads its flags, follows the API server, takes part in the election, and works while it leads.
 * A second replica stands by with warm caches. SIGTERM ends the work, then releases the Lease.
 */
import "../sys/young-generation.ts";
import { heraldVersion } from "../config/version.ts";
import { AloneCheck, warnOnPod } from "../kube/coexistence.ts";
import type { KubeClient } from "../kube/client.ts";
import { FencedClient, LAST_WRITE_TIMEOUT_MS } from "../kube/client-fence.ts";
import { EventRecorder } from "../kube/event-recorder.ts";
import { createKubeClient, loadKubeConfig } from "../kube/http-client.ts";
import { startHealthServer } from "../kube/http-server.ts";
import { LeaderElector } from "../kube/lease.ts";
import { startMetricsServer } from "../kube/metrics-server.ts";
import { createSharedMetrics } from "../kube/metrics.ts";
import { ownNamespace } from "../kube/own-namespace.ts";
import { parseTlsSettings, type TlsSettings } from "../kube/tls-settings.ts";
import { sleep, systemClock as clock } from "../sys/clock.ts";
import { createLogger, type Logger } from "../sys/log.ts";
import { commandLineArguments, environment, exit, onFatal, printError, printOut, stopSignal } from "../sys/process.ts";
import { systemRandom as random } from "../sys/random.ts";
import { Controller } from "./controller.ts";
import { type ControllerFlagValues, parseControllerFlags } from "./flags.ts";
import { ensureMemberlistSecret, SECRET_BYTES } from "./memberlist-secret.ts";
import type { Webhooks } from "./webhook/webhooks.ts";

/** Name of the Lease that the replicas take turns in. */
const LEASE_NAME = "herald-controller";
/**
 * A clean stop waits this long for patches on their way, and then for events. While a patch may still take effect the
 * Lease is not released: it runs out instead.
 */
const STOP_WORK_MS = LAST_WRITE_TIMEOUT_MS + 1000;
const STOP_EVENTS_MS = 500;
/** Requests in flight at once: the patches of Services, with room for the Lease, lists, events and pool status beside them. */
const MAX_REQUESTS = 48;

await main();

async function main(): Promise<void> {
  const parsed = parseControllerFlags(commandLineArguments(), environment());
  switch (parsed.kind) {
    case "help":
      printOut(`herald controller ${heraldVersion}: gives addresses to Services of type LoadBalancer\n\n${parsed.text}`);
      return;
    case "version":
      printOut(`herald controller ${heraldVersion}\n`);
      return;
    case "error":
      printError(`herald controller: ${parsed.message}\n`);
      return exit(1);
    case "run":
      return run(parsed.values, parsed.ignored);
  }
}

async function run(flags: ControllerFlagValues, ignored: readonly string[]): Promise<void> {
  const log = createLogger(flags["log-level"]);
  onFatal((error) => log.error("fatal", { error, stack: error instanceof Error ? error.stack : undefined }));
  const stop = stopSignal();
  const namespace = ownNamespace(flags.namespace);
  log.info("starting", { version: heraldVersion, namespace, node: process.version });
  if (ignored.length > 0) log.warn("flagsNotInEffect", { flags: ignored });

  const tls = parseTlsSettings({ minVersion: flags["tls-min-version"], cipherSuites: flags["tls-cipher-suites"], curvePreferences: flags["tls-curve-preferences"] });
  if (tls.kind === "error") {
    printError(`herald controller: ${tls.message}\n`);
    return exit(1);
  }
  const client = createKubeClient({ kubeConfig: loadKubeConfig(), userAgent: `herald-controller/${heraldVersion}`, clock, maxInFlight: MAX_REQUESTS });
  const metrics = createSharedMetrics();
  const podName = flags["pod-name"];
  const identity = `${podName === "" ? "herald-controller" : podName}_${crypto.randomUUID()}`;
  const recorder = new EventRecorder({ client, clock, random, log, component: "metallb-controller", ...(podName === "" ? {} : { host: podName }) });
  const alone = new AloneCheck({ client, clock, log, namespace, onFound: warnOnPod({ client, recorder, namespace, podName }) });
  const health = await startHealthServer({ port: flags["health-probe-port"], liveness: {}, readiness: { metallb: () => alone.problem } });
  const whenAlone = alone.whenAlone();
  const lbClass = flags["lb-class"];
  const fenced = new FencedClient({ client, clock, leadsFor: (ms) => elector.leadsFor(ms) });
  const controller = new Controller({ client: fenced, clock, random, log, recorder, metrics, namespace, lbClass, podName });

  let stopping = false;
  const elector: LeaderElector = new LeaderElector({
    client, clock, random, log, namespace, name: LEASE_NAME, identity,
    onStartedLeading() {
      log.info("leading", { identity });
      void whenAlone.then(() => controller.lead());
    },
    onStoppedLeading(reason) {
      log.info("notLeading", { identity, reason });
      // What is on its way is dropped as far as it can be; a new process starts with nothing in mind.
      if (reason === "lost") client.close();
      if (!stopping) exit(1);
    },
    onNewLeader: (leader) => log.info("leader", { leader }),
  });

  const guard = { client, clock, log, tls: tls.settings, certificateFolder: flags["metrics-cert-dir"], names: [podName] };
  const metricsServer = await startMetricsServer({ port: flags.port, registry: metrics.registry, guard: flags["metrics-plain"] ? undefined : guard });
  const webhooks = flags["webhook-mode"] === "disabled" ? undefined : await createWebhooks({ flags, client, log, namespace, tls: tls.settings });
  // MetalLB's controller keeps the same Secret and registration.
  void whenAlone.then(() => webhooks?.start());
  const gives = flags["webhook-mode"] !== "onlywebhook";
  if (gives) {
    controller.start();
    elector.start();
  }
  if (gives && flags["ml-secret-name"] !== "") {
    const randomBytes = (): Uint8Array => crypto.getRandomValues(new Uint8Array(SECRET_BYTES));
    void ensureMemberlistSecret({ client, clock, log, namespace, name: flags["ml-secret-name"], deployment: flags.deployment, randomBytes });
  }
  log.info("running", { healthPort: health.port, metricsPort: metricsServer?.port });

  const signal = await stop;
  stopping = true;
  log.info("stopping", { signal });
  const ended = controller.stop().then(() => fenced.quiet()).then(() => true);
  if (!(await Promise.race([ended, sleep(clock, STOP_WORK_MS).then(() => false)]))) log.warn("leaseNotReleased", { reason: "a write is still on its way" });
  else if (gives) await elector.stop();
  await Promise.race([Promise.all([recorder.flush(), webhooks?.stop()]), sleep(clock, STOP_EVENTS_MS)]);
  log.info("stopped", { signal });
  client.close();
  exit(0);
}

/** Loads what webhooks need, and only then: a controller without them has no use for it. */
async function createWebhooks(options: { flags: ControllerFlagValues; client: KubeClient; log: Logger; namespace: string; tls: TlsSettings }): Promise<Webhooks> {
  const { flags, client, log, namespace, tls } = options;
  const { Webhooks } = await import("./webhook/webhooks.ts");
  return new Webhooks({
    client, clock, log, namespace, tls,
    serviceName: flags["cert-service-name"],
    secretName: flags["webhook-secret"],
    http2: flags["webhook-http2"],
    ...(flags["disable-cert-rotation"] ? { certificateFolder: flags["cert-dir"] } : {}),
  });
}
