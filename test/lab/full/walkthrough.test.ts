import { test } from "vitest";
import { install, uninstall } from "../walkthrough/installation.ts";
import { steps } from "../walkthrough/walkthrough.ts";
import { describeOnFullLab } from "./describe-on-full-lab.ts";

describeOnFullLab("the walkthrough, from helm install to helm uninstall", { name: "full-walk", backend: true, herald: false }, (lab) => {
  const say = (): void => undefined;
  test("helm install: one controller leads, a speaker runs on every node, pods are Ready, the members' secret exists", () => install({ lab: lab(), say }));
  for (const step of steps) test(step.title, () => step.run({ lab: lab(), say }));
  test("helm uninstall leaves nothing running and keeps the user's resources", () => uninstall({ lab: lab(), say }));
});
