import { afterAll, beforeAll, describe, test } from "vitest";
import { Lab, whyNoLab } from "../lab.ts";
import { steps } from "./walkthrough.ts";

const reason = whyNoLab();

describe.skipIf(reason !== undefined)(`the walkthrough${reason === undefined ? "" : ` (${reason})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.up({ name: "walk", nodes: 3 });
    await lab.startHerald();
  });
  afterAll(async () => lab?.down());

  for (const step of steps) test(step.title, async () => step.run({ lab, say: () => undefined }));
});
