/** What the walkthrough applies, as YAML that a user could paste. */
import { onBackend } from "../full/full-lab.ts";
import { BACKEND_HOST } from "../hosts.ts";
import { labImageReference } from "../images.ts";

/** Pool and advertisement, verbatim from the user's story; also in pool.yaml beside this file. */
export const POOL_FILE = new URL("./pool.yaml", import.meta.url);

export interface AppOptions {
  readonly name: string;
  /** Name of the Deployment whose pods the Service sends to; its own name when left out. */
  readonly backend?: string;
  readonly replicas?: number;
  readonly externalTrafficPolicy?: "Cluster" | "Local";
  /** Runs the pods on this host only. */
  readonly nodeName?: string;
  /** Further lines of the Service's spec, unindented. */
  readonly serviceSpec?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  /** Answers UDP on port 81 as well. */
  readonly udp?: boolean;
}

/** An app whose pods no node takes with it; they run from the step before the one that needs them to the end of the story. */
export const BUSY: AppOptions = { name: "busy", nodeName: BACKEND_HOST, udp: true };

/** A Deployment of a web server and a Service of type LoadBalancer before it. */
export function app(options: AppOptions): string {
  return `${deployment(options)}---\n${service(options)}`;
}

export function deployment({ name, replicas = 2, nodeName, udp = false }: AppOptions): string {
  const place = nodeName === BACKEND_HOST ? onBackend() : nodeName === undefined ? {} : { nodeSelector: { "kubernetes.io/hostname": nodeName } };
  const placeLines = Object.entries(place).map(([key, value]) => `      ${key}: ${JSON.stringify(value)}\n`).join("");
  return `apiVersion: apps/v1
kind: Deployment
metadata: {name: ${name}, namespace: default}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: ${name}}}
  template:
    metadata: {labels: {app: ${name}}}
    spec:
${placeLines}      containers:
      - name: web
        image: ${labImageReference("backend")}
        ports: [{containerPort: 8080}${udp ? ", {containerPort: 8081, protocol: UDP}" : ""}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, timeoutSeconds: 10}
        env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
`;
}

export function service({ name, backend = name, externalTrafficPolicy = "Cluster", serviceSpec = [], annotations = {}, udp = false }: AppOptions): string {
  return `apiVersion: v1
kind: Service
metadata:
  name: ${name}
  namespace: default
  annotations: ${JSON.stringify(annotations)}
spec:
  type: LoadBalancer
  externalTrafficPolicy: ${externalTrafficPolicy}
  selector: {app: ${backend}}
  ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP}${udp ? ", {name: udp, port: 81, targetPort: 8081, protocol: UDP}" : ""}]
${serviceSpec.map((line) => `  ${line}\n`).join("")}`;
}
