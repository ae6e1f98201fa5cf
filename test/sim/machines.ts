/** What can be put under test, by name. */

import type { MachineFactory } from "./cluster.ts";
import { NaiveAgreement } from "./naive-agreement.ts";

export const machines: Readonly<Record<string, MachineFactory>> = {
  naive: (options, random, wallMs) => new NaiveAgreement(options, random, wallMs),
};
