/**
 * The speaker's command line: MetalLB's flags and environment names, so that its manifests start Herald unchanged.
 */
import { defineFlags, parseFlags } from "../config/flags.ts";
import type { FlagValues, ParsedFlags } from "../config/flags.ts";
import { logLevels } from "../sys/log.ts";

const port = { kind: "int", min: 0, max: 65_535 } as const;
const string = { kind: "string", default: "" } as const;

/** The table; its keys are the flags' names. */
export const speakerFlags = defineFlags({
  "node-name": { ...string, env: "METALLB_NODE_NAME", required: true, help: "Name of the Node that this speaker runs on, as the API spells it" },
  namespace: { ...string, env: "METALLB_NAMESPACE", help: "Namespace of Herald's own resources; default is the service account's, else metallb-system" },
  "pod-name": { ...string, env: "METALLB_POD_NAME", help: "Name of this speaker's Pod, which becomes the owner of what it creates" },
  "log-level": { kind: "enum", choices: logLevels, default: "info", help: "Least important level to write" },
  port: { ...port, default: 9120, help: "Port of /metrics; 0 turns it off" },
  "health-probe-port": { ...port, default: 17_472, help: "Port of /healthz and /readyz on 127.0.0.1; 0 picks a free one" },
  "lb-class": { ...string, help: "Serve only Services of this loadBalancerClass; without it, only those without a class" },
  "ignore-exclude-lb": { kind: "bool", default: false, help: "Announce from nodes labelled node.kubernetes.io/exclude-from-external-load-balancers too" },
  excludel2: { ...string, default: "/etc/metallb/excludel2.yaml", env: "HERALD_EXCLUDEL2", help: "File that names the interfaces never to announce on" },
  host: { ...string, env: "METALLB_HOST", help: "Ignored, as MetalLB ignores it" },
  "bgp-type": { ...string, env: "METALLB_BGP_TYPE", notInEffect: true, help: "BGP implementation" },
  "bgp-debounce-timeout": { ...port, max: 2 ** 31, default: 3000, env: "METALLB_BGP_DEBOUNCE_TIMEOUT", notInEffect: true, help: "Milliseconds to gather BGP configuration changes" },
  "frrk8s-namespace": { ...string, env: "FRRK8S_NAMESPACE", notInEffect: true, help: "Namespace of frr-k8s" },
  "frrk8s-secret-passthrough": { kind: "bool", default: false, notInEffect: true, help: "Hand secrets to frr-k8s" },
  "ml-bindaddr": { ...string, env: "METALLB_ML_BIND_ADDR", notInEffect: true, help: "Address of the membership protocol" },
  "ml-bindport": { ...port, default: 7946, env: "METALLB_ML_BIND_PORT", notInEffect: true, help: "Port of the membership protocol" },
  "ml-labels": { ...string, env: "METALLB_ML_LABELS", notInEffect: true, help: "Labels of the speakers' Pods" },
  "ml-secret-key-path": { ...string, env: "METALLB_ML_SECRET_KEY_PATH", notInEffect: true, help: "Folder of the membership protocol's key" },
  "ml-wan-config": { kind: "bool", default: false, notInEffect: true, help: "Membership timing for distant nodes" },
  "pprof-bind-address": { ...string, notInEffect: true, help: "Address of the profiler" },
  "tls-min-version": { ...string, default: "VersionTLS13", notInEffect: true, help: "Lowest TLS version of /metrics" },
  "tls-cipher-suites": { ...string, notInEffect: true, help: "Cipher suites of /metrics" },
  "tls-curve-preferences": { ...string, notInEffect: true, help: "Curves of /metrics, by number" },
  "metrics-cert-dir": { ...string, notInEffect: true, help: "Folder of the certificate of /metrics" },
});

/** The values by flag name. */
export type SpeakerFlagValues = FlagValues<typeof speakerFlags>;

/** Reads the speaker's command line and environment. Never throws. */
export function parseSpeakerFlags(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): ParsedFlags<typeof speakerFlags> {
  return parseFlags(speakerFlags, argv, env);
}
