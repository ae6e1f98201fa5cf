/**
 * The controller's command line: MetalLB's flags and environment names, so that its manifests start Herald unchanged.
 */
import { defineFlags, type FlagValues, type ParsedFlags, parseFlags } from "../config/flags.ts";
import { logLevels } from "../sys/log.ts";

const port = { kind: "int", min: 0, max: 65_535 } as const;
const string = { kind: "string", default: "" } as const;

/** The table; its keys are the flags' names. */
export const controllerFlags = defineFlags({
  namespace: { ...string, env: "METALLB_NAMESPACE", help: "Namespace of Herald's own resources; default is the service account's, else metallb-system" },
  "pod-name": { ...string, env: "METALLB_POD_NAME", help: "Name of this controller's Pod, which becomes the owner of what it creates" },
  "log-level": { kind: "enum", choices: logLevels, default: "info", help: "Least important level to write" },
  port: { ...port, default: 9120, help: "Port of /metrics; 0 turns it off" },
  "health-probe-port": { ...port, default: 17_472, help: "Port of /healthz and /readyz; 0 picks a free one" },
  "lb-class": { ...string, help: "Serve only Services of this loadBalancerClass; without it, only those without a class" },
  "ml-secret-name": { ...string, env: "METALLB_ML_SECRET_NAME", help: "Name of the Secret of the membership protocol, created when absent" },
  deployment: { ...string, env: "METALLB_DEPLOYMENT", help: "Name of the controller's Deployment, which becomes the owner of that Secret" },
  "bgp-type": { ...string, env: "METALLB_BGP_TYPE", notInEffect: true, help: "BGP implementation that webhooks validate for" },
  "pprof-bind-address": { ...string, notInEffect: true, help: "Address of the profiler" },
  "tls-min-version": { ...string, default: "VersionTLS13", help: "Lowest TLS version of /metrics and webhooks: VersionTLS12 or VersionTLS13" },
  "tls-cipher-suites": { ...string, help: "Cipher suites of TLS 1.2 of /metrics and webhooks, by IANA's names, separated by commas; TLS 1.3 has its own" },
  "tls-curve-preferences": { ...string, help: "Curves of /metrics and webhooks, most wanted first, by number or name, separated by commas" },
  "metrics-cert-dir": { ...string, help: "Folder of the certificate of /metrics (tls.crt and tls.key, read again when they change); without it one is made at the start" },
  "metrics-plain": { kind: "bool", default: false, help: "Serve /metrics over plain HTTP to everybody, instead of HTTPS with a token that may get it" },
  "disable-cert-rotation": { kind: "bool", default: false, help: "Leave the webhooks' certificate to others: it is read from --cert-dir, and no CA bundle is written" },
  "cert-dir": { ...string, default: "/tmp/k8s-webhook-server/serving-certs", help: "Folder of the webhooks' certificate (tls.crt and tls.key, read again when they change); used with --disable-cert-rotation only" },
  "cert-service-name": { ...string, default: "metallb-webhook-service", help: "Service that leads to the webhooks; their certificate bears its name" },
  "webhook-secret": { ...string, default: "metallb-webhook-cert", help: "Secret of the webhooks' certificate and its authority, made and renewed by the controller" },
  "webhook-mode": { kind: "enum", choices: ["enabled", "disabled", "onlywebhook"], default: "enabled", help: "Whether to serve webhooks; onlywebhook serves them and gives no addresses" },
  "webhook-http2": { kind: "bool", default: false, help: "Serve webhooks over HTTP/2" },
});

/** The values by flag name. */
export type ControllerFlagValues = FlagValues<typeof controllerFlags>;

/** Reads the controller's command line and environment. Never throws. */
export function parseControllerFlags(argv: readonly string[], env: Readonly<Record<string, string | undefined>>): ParsedFlags<typeof controllerFlags> {
  return parseFlags(controllerFlags, argv, env);
}
