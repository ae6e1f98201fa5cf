import assert from "node:assert/strict";
import { describe, expect, it } from "vitest";
import { crdTemplate, crdTemplates, staleCopies } from "./chart-crds.ts";

const HEAD = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata:\n  name: x.metallb.io\n";

describe("the chart's custom resource definitions", () => {
  it("are those of crds/ (if not: node scripts/chart-crds.ts)", () => {
    expect(crdTemplates().size).toBe(9);
    expect(staleCopies()).toEqual([]);
  });
});

describe("crdTemplate", () => {
  it("adds labels and the annotation that keeps it, and leaves the rest alone", () => {
    const template = crdTemplate(`# About.\n# More.\n${HEAD}spec:\n  # Why.\n  group: metallb.io\n`);
    expect(template).toContain(`${HEAD}  labels:\n`);
    expect(template).toContain("    helm.sh/resource-policy: keep\nspec:\n  # Why.\n  group: metallb.io\n{{- end }}\n");
    expect(template).not.toContain("About");
  });

  it("calls a webhook that converts in the release's namespace, and only while webhooks are on", () => {
    const conversion = "  conversion:\n    strategy: Webhook\n    webhook:\n      clientConfig:\n        service:\n          name: s\n          namespace: metallb-system\n";
    const template = crdTemplate(`${HEAD}spec:\n  group: metallb.io\n${conversion}  scope: Namespaced\n`);
    expect(template).toContain("          namespace: {{ .Release.Namespace }}\n  {{- else }}\n  conversion:\n    strategy: None\n  {{- end }}\n  scope: Namespaced\n");
    expect(template).not.toContain("metallb-system");
  });

  it("refuses what a template would misread", () => {
    assert.throws(() => crdTemplate(`${HEAD}spec:\n  description: "{{ x }}"\n`), /which a template would read/);
    assert.throws(() => crdTemplate(`${HEAD}  labels: {}\nspec: {}\n`), /does not start with/);
  });
});
