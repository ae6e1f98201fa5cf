/**
 * The speaker's process: command line, log, packet thread, watches, probes, metrics, and the end of it all.
 */
import "../sys/young-generation.ts";
import { parseExcludeInterfaces } from "../config/exclude-interfaces.ts";
import { heraldVersion } from "../config/version.ts";
import type { KubeClient } from "../kube/client.ts";
import { AloneCheck, warnOnPod } from "../kube/coexistence.ts";
import { EventRecorder } from "../kube/event-recorder.ts";
import { createKubeClient, loadKubeConfig } from "../kube/http-client.ts";
import { startHealthServer } from "../kube/http-server.ts";
import { startMetricsServer } from "../kube/metrics-server.ts";
import { createSharedMetrics } from "../kube/metrics.ts";
import { ownNamespace } from "../kube/own-namespace.ts";
import { parseTlsSettings } from "../kube/tls-settings.ts";
import type { TlsSettings } from "../kube/tls-settings.ts";
import { sleep, systemClock } from "../sys/clock.ts";
import { readTextFileIfPresent } from "../sys/files.ts";
import { createLogger } from "../sys/log.ts";
import type { Logger } from "../sys/log.ts";
import { commandLineArguments, environment, exit, onFatal, printError, printOut, stopSignal } from "../sys/process.ts";
import type { StopSignal } from "../sys/process.ts";
import { openMulticastGroups } from "../sys/multicast-groups.ts";
import { systemRandom } from "../sys/random.ts";
import { defaultGateways } from "../sys/routes.ts";
import { parseSpeakerFlags } from "./flags.ts";
import type { SpeakerFlagValues } from "./flags.ts";
import { chooseMembership } from "./membership-settings.ts";
import type { MembershipChoice } from "./membership-settings.ts";
import { startPacketThread } from "./packet-thread-handle.ts";
import { SolicitedGroups } from "./solicited-groups.ts";
import { Speaker } from "./speaker.ts";

/** Requests in flight at once: what a speaker writes (statuses, events) is not urgent, and each connection costs memory. */
const MAX_REQUESTS = 6;
/** A clean stop that takes longer is cut off (milliseconds): handing over takes up to a second and a half. */
const stopTimeoutMs = 4_000;
/** An API server that does not say by then whether MetalLB runs holds up the table only, not the membership (milliseconds). */
const firstLookMs = 2_000;

const parsed = parseSpeakerFlags(commandLineArguments(), environment());
switch (parsed.kind) {
  case "help":
    printOut(`Herald speaker: announces the addresses of LoadBalancer Services from this node.\n\n${parsed.text}`);
    break;
  case "version":
    printOut(`herald-speaker ${heraldVersion}\n`);
    break;
  case "error":
    printError(`speaker: ${parsed.message}\n`);
    exit(1);
    break;
  case "run": {
    const log = createLogger(parsed.values["log-level"]);
    onFatal((error) => log.error("fatal", { reason: error }));
    if (parsed.ignored.length > 0) log.warn("flagsNotInEffect", { flags: parsed.ignored.map((name) => `--${name}`) });
    await run(parsed.values, log);
    break;
  }
}

async function run(flags: SpeakerFlagValues, log: Logger): Promise<void> {
  // From now on: process 1 of a container hears no signal that it does not ask for.
  const stop = stopSignal();
  const node = flags["node-name"];
  const namespace = ownNamespace(flags.namespace);
  log.info("starting", { version: heraldVersion, node, namespace });
  const tls = readTlsSettings(flags, log);
  const membership = readMembership(flags, log);
  const metrics = createSharedMetrics();
  const excludeInterfaces = readExcludeInterfaces(flags.excludel2, log);
  const client = createKubeClient({ kubeConfig: loadKubeConfig(), userAgent: `herald-speaker/${heraldVersion}`, clock: systemClock, maxInFlight: MAX_REQUESTS });
  const groups = new SolicitedGroups({ clock: systemClock, log, groups: openMulticastGroups() });
  const alone = new AloneCheck({ client, clock: systemClock, log, namespace, onFound: warnOnOwnPod(client, { namespace, podName: flags["pod-name"], node, log }) });
  // In MetalLB's own election a mixed cluster is meant.
  const maybeMetalLb = flags.election !== "metallb" && !(await isAlone(alone, { port: flags["health-probe-port"], stop, log }));
  const speaker = new Speaker({
    node,
    namespace,
    podName: flags["pod-name"] || undefined,
    loadBalancerClass: flags["lb-class"] || undefined,
    ignoreExcludeLb: flags["ignore-exclude-lb"],
    membership: membership.kind === "on" ? { labels: membership.labels, family: membership.family } : undefined,
    client,
    clock: systemClock,
    random: systemRandom,
    log,
    metrics,
    defaultGateways,
    startPacketThread: (onFact) =>
      startPacketThread({
        node,
        membership: membership.kind === "on" ? membership.settings : undefined,
        excludeInterfaces,
        entry: packetThreadEntry(),
        onFact(fact) {
          groups.take(fact);
          onFact(fact);
        },
        onExit: (error) => {
          log.error("packetThreadEnded", { reason: error ?? "nobody asked it to" });
          exit(1);
        },
      }),
  });
  const health = await startHealthServer({
    host: "127.0.0.1",
    port: flags["health-probe-port"],
    liveness: { packetThread: () => speaker.liveness() },
    readiness: { metallb: () => (maybeMetalLb ? alone.problem : undefined), table: () => speaker.readiness() },
  });
  const guard = { client, clock: systemClock, log, tls, certificateFolder: flags["metrics-cert-dir"], names: [flags["pod-name"], node] };
  const metricsServer = await startMetricsServer({ port: flags.port, registry: metrics.registry, guard: flags["metrics-plain"] ? undefined : guard });
  const stopping = new AbortController();
  const started = startWhenAlone();
  const signal = await stop;
  log.info("stopping", { signal });
  stopping.abort();
  systemClock.after(stopTimeoutMs, () => {
    log.warn("stopTookTooLong");
    exit(1);
  });
  await speaker.stop();
  await started;
  await Promise.all([health.close(), metricsServer?.close()]);
  client.close();
  log.info("stopped");
  exit(0);

  async function startWhenAlone(): Promise<void> {
    if (maybeMetalLb) await alone.whenAlone(stopping.signal);
    if (!stopping.signal.aborted) await speaker.start();
  }
}

/**
 * Whether MetalLB is known not to run in this cluster. While it does, this waits, without the ports that both use: the
 * health port is served when MetalLB's speaker does not have it. False when the API server does not say within a moment.
 */
async function isAlone(alone: AloneCheck, { port, stop, log }: { port: number; stop: Promise<StopSignal>; log: Logger }): Promise<boolean> {
  const first = await Promise.race([alone.look(), sleep(systemClock, firstLookMs)]);
  if (first !== "found") return first === "alone";
  const health = await startHealthServer({ host: "127.0.0.1", port, liveness: {}, readiness: { metallb: () => alone.problem } }).catch(() => undefined);
  const signal = await Promise.race([alone.whenAlone(), stop]);
  if (signal !== undefined) {
    log.info("stopped", { signal });
    exit(0);
  }
  await health?.close();
  return true;
}

function warnOnOwnPod(client: KubeClient, { namespace, podName, node, log }: { namespace: string; podName: string; node: string; log: Logger }): (sentence: string) => void {
  const recorder = new EventRecorder({ client, clock: systemClock, random: systemRandom, log, component: "metallb-speaker", host: node });
  return warnOnPod({ client, recorder, namespace, podName });
}

function readTlsSettings(flags: SpeakerFlagValues, log: Logger): TlsSettings {
  const parsed = parseTlsSettings({ minVersion: flags["tls-min-version"], cipherSuites: flags["tls-cipher-suites"], curvePreferences: flags["tls-curve-preferences"] });
  if (parsed.kind === "settings") return parsed.settings;
  log.error("flagRefused", { reason: parsed.message });
  printError(`speaker: ${parsed.message}\n`);
  return exit(1);
}

/** How to take part in the membership protocol. What the key is, nobody is told. */
function readMembership(flags: SpeakerFlagValues, log: Logger): Exclude<MembershipChoice, { kind: "error" }> {
  const choice = chooseMembership(flags, { readFile: readTextFileIfPresent, bootUnixMs: systemClock.wallMs() });
  switch (choice.kind) {
    case "error":
      log.error("membershipRefused", { reason: choice.message });
      printError(`speaker: ${choice.message}\n`);
      return exit(1);
    case "off":
      log.info("membershipOff", { reason: "--ml-bindaddr and --ml-labels are not both given" });
      if (choice.ineffective.length > 0) log.warn("flagsNeedMembership", { flags: choice.ineffective });
      return choice;
    case "on": {
      const { bindAddress, bindPort, wan, profile, failback, election, template } = choice.settings;
      log.info("membershipOn", { bindAddress, bindPort, labels: choice.labels, encrypted: choice.encrypted, wan, profile, failback, election, template });
      if (!choice.encrypted) log.warn("membershipNotEncrypted", { reason: "there is no key: whoever reaches the port can take part" });
      return choice;
    }
  }
}

/** The source runs its source, a bundle the bundle beside it. */
function packetThreadEntry(): URL {
  return new URL(import.meta.url.endsWith(".mjs") ? "./packet-thread.mjs" : "./packet-thread.ts", import.meta.url);
}

function readExcludeInterfaces(path: string, log: Logger): readonly string[] {
  try {
    const text = readTextFileIfPresent(path);
    return text === undefined ? [] : parseExcludeInterfaces(text);
  } catch (error) {
    log.error("excludeFileUnreadable", { path, reason: error });
    return exit(1);
  }
}
