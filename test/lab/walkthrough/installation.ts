/** The first and the last step of the user's story where there are real kubelets: `helm install` and `helm uninstall`. */
import assert from "node:assert/strict";
import { eventually } from "../eventually.ts";
import type { FullLab, InstallOptions } from "../full/full-lab.ts";
import { WITHIN } from "../observe.ts";
import { HERALD_NAMESPACE } from "../pods.ts";
import { BUSY, service } from "./manifests.ts";

/** What a step may use. */
export interface InstallationContext {
  readonly lab: FullLab;
  /** Shows a line to whoever watches. */
  readonly say: (line: string) => void;
}

/** Installs Herald from its image and its chart: one controller leads, a speaker runs on every node, all pods are Ready, and the members' secret exists. */
export async function install({ lab, say }: InstallationContext, options: InstallOptions = {}): Promise<void> {
  await lab.startHerald(options, say);
  say(await lab.kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-o", "wide"]));
  const speakers = (await lab.kubectl(["get", "pods", "-n", HERALD_NAMESPACE, "-l", "app.kubernetes.io/component=speaker", "-o", 'jsonpath={range .items[*]}{.spec.nodeName}{"\\n"}{end}'])).trim().split("\n");
  assert.deepEqual(speakers.toSorted(), lab.allNodes);
  const holder = await eventually(async () => {
    const leases = JSON.parse(await lab.kubectl(["get", "leases", "-n", HERALD_NAMESPACE, "-o", "json"])) as { items: { spec: { holderIdentity?: string } }[] };
    assert.equal(leases.items.length, 1, JSON.stringify(leases.items));
    assert.ok(leases.items[0]?.spec.holderIdentity, "nobody holds the Lease");
    return leases.items[0].spec.holderIdentity;
  }, { ...WITHIN, what: "a controller that holds the Lease" });
  say(`${holder} leads`);
  const secret = await lab.get("secret", HERALD_NAMESPACE, "metallb-memberlist") as { data: Record<string, string> };
  assert.deepEqual(Object.keys(secret.data), ["secretkey"]);
}

/** Uninstalls Herald while a Service, before pods of the story, has an address: nothing is left running, nobody answers any more, and what the user made is there. */
export async function uninstall({ lab, say }: InstallationContext): Promise<void> {
  await lab.apply(service({ name: "last", backend: BUSY.name }));
  const address = await eventually(async () => {
    const found = await lab.get("service", "default", "last") as { status: { loadBalancer: { ingress?: { ip: string }[] } } };
    const ip = found.status.loadBalancer.ingress?.[0]?.ip;
    assert.ok(ip !== undefined, "no address yet");
    assert.notDeepEqual(await lab.arping("client", ip), [], `nobody answers for ${ip}`);
    return ip;
  }, { timeoutMs: 120_000, what: "somebody who answers for a last Service" });
  await lab.stopHerald();
  const [answers, left, kept] = await Promise.all([
    lab.arping("client", address, { count: 3 }),
    lab.kubectl(["get", "deployments,daemonsets,pods", "-n", HERALD_NAMESPACE, "-o", "name"]),
    lab.kubectl(["get", "ipaddresspools,l2advertisements", "-n", HERALD_NAMESPACE, "-o", "name"]),
  ]);
  assert.deepEqual(answers, []);
  assert.equal(left.trim(), "");
  assert.deepEqual(kept.trim().split("\n"), ["ipaddresspool.metallb.io/my-ippool", "l2advertisement.metallb.io/my-l2-advertise"]);
  const { status } = await lab.get("service", "default", "last") as { status: { loadBalancer: { ingress?: { ip: string }[] } } };
  assert.equal(status.loadBalancer.ingress?.[0]?.ip, address);
  say(`nothing of Herald runs, nobody answers for ${address}; kept: ${kept.trim().replaceAll("\n", ", ")}`);
  await lab.kubectl(["delete", "service/last", `deployment/${BUSY.name}`, "-n", "default", "--wait=false"]);
}
