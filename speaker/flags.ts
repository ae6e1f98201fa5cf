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
  "gratuitous-arp-interval": { kind: "int", min: 0, max: 2 ** 31, default: 0, notInEffect: true, help: "Seconds between announcements of an address that nothing has happened to; it is announced again about once a minute in any case" },
  "frrk8s-namespace": { ...string, env: "FRRK8S_NAMESPACE", notInEffect: true, help: "Namespace of frr-k8s" },
  "frrk8s-secret-passthrough": { kind: "bool", default: false, notInEffect: true, help: "Hand secrets to frr-k8s" },
  "ml-bindaddr": { ...string, env: "METALLB_ML_BIND_ADDR", help: "Address of the membership protocol's sockets, where the other speakers reach this one; the protocol is on when this and --ml-labels are given" },
  "ml-bindport": { ...port, min: 1, default: 7946, env: "METALLB_ML_BIND_PORT", help: "Port of the membership protocol, UDP and TCP; the same on every node" },
  "ml-labels": { ...string, env: "METALLB_ML_LABELS", help: "Label selector of the speakers' Pods, which says whom to expect; Pods with the usual labels of MetalLB and Herald are found besides" },
  "ml-secret-key-path": { ...string, env: "METALLB_ML_SECRET_KEY_PATH", help: "Folder with the file secretkey, from which the membership protocol's key is made; without it nothing is encrypted" },
  "ml-wan-config": { kind: "bool", default: false, help: "Membership timing for distant nodes; how fast a lost node is noticed is up to --profile" },
  election: { kind: "enum", choices: ["hash", "metallb"], default: "hash", env: "HERALD_ELECTION", help: "Who announces an address: hash keeps it where it is and ranks by a hash ring, metallb computes MetalLB's own hash and keeps nothing" },
  failback: { kind: "enum", choices: ["sticky", "rank"], default: "sticky", env: "HERALD_FAILBACK", help: "What a node that returns gets back: nothing (sticky), or the addresses that it is first in rank for" },
  profile: { kind: "enum", choices: ["fast", "default", "calm"], default: "default", env: "HERALD_PROFILE", help: "How fast another speaker is taken for lost, against how seldom in error" },
  "template-version": { ...string, env: "HERALD_TEMPLATE_VERSION", help: "Version of the workload's template (label controller-revision-hash of the Pod): a rolling update hands addresses to nodes that have the new one" },
  "pprof-bind-address": { ...string, notInEffect: true, help: "Address of the profiler" },
  "tls-min-version": { ...string, default: "VersionTLS13", help: "Lowest TLS version of /metrics: VersionTLS12 or VersionTLS13" },
  "tls-cipher-suites": { ...string, help: "Cipher suites of TLS 1.2 of /metrics, by IANA's names, separated by commas; TLS 1.3 has its own" },
  "tls-curve-preferences": { ...string, help: "Curves of /metrics, most wanted first, by number or name, separated by commas" },
  "metrics-cert-dir": { ...string, help: "Folder of the certificate of /metrics (tls.crt and tls.key, read again when they change); without it one is made at the start" },
  "metrics-plain": { kind: "bool", default: false, help: "Serve /metrics over plain HTTP to everybody, instead of HTTPS with a token that may get it" },
});

/** The values by flag name. */
export type SpeakerFlagValues = FlagValues<typeof speakerFlags>;

/** Reads the speaker's command line and environment. Never throws. */
export function parseSpeakerFlags(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): ParsedFlags<typeof speakerFlags> {
  return parseFlags(speakerFlags, argv, env);
}
