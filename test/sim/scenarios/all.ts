/** Every scenario. */

import { deathScenarios } from "./deaths.ts";
import { spreadScenarios } from "./spread.ts";
import type { Scenario } from "./stage.ts";
import { termScenarios } from "./terms.ts";
import { viewScenarios } from "./views.ts";

/** Seeds of a scenario that names none. */
export const SEEDS: readonly number[] = [1, 2, 3];

export const scenarios: readonly Scenario[] = [...termScenarios, ...deathScenarios, ...viewScenarios, ...spreadScenarios];
