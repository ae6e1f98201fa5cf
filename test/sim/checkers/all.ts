/** Every rule, new for each run. */

import type { Keyring } from "../../../speaker/membership/keyring.ts";
import { Deaf } from "./deaf.ts";
import { Flap } from "./flap.ts";
import { Growth } from "./growth.ts";
import { OneOwner } from "./one-owner.ts";
import { Overlap } from "./overlap.ts";
import { ShortPause } from "./pause.ts";

export interface AllCheckers {
  readonly oneOwner: OneOwner;
  readonly overlap: Overlap;
  readonly growth: Growth;
  readonly pause: ShortPause;
  readonly deaf: Deaf;
  readonly flap: Flap;
}

export function allCheckers(keyring: Keyring): AllCheckers {
  return { oneOwner: new OneOwner(), overlap: new Overlap(), growth: new Growth(keyring), pause: new ShortPause(), deaf: new Deaf(), flap: new Flap() };
}
