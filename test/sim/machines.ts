/** What can be put under test, by name. */

import { Agreement } from "../../speaker/agreement/agreement.ts";
import type { MachineFactory } from "./cluster.ts";
import { NaiveAgreement } from "./naive-agreement.ts";

export const machines: Readonly<Record<string, MachineFactory>> = {
  agreement: (options, random, wallMs) => new Agreement(options, random, wallMs),
  naive: (options, random) => new NaiveAgreement(options, random),
  returnersFirst: (options, random) => new NaiveAgreement(options, random, true),
};
