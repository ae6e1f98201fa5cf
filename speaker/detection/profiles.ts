/**
 * The three profiles of detection: how fast, against how long a pause they tolerate.
 *
 * Silence counts from the last beat that came in, so a tolerated pause is shorter by one beat (it may begin right before
 * the next was due) and some jitter. A machine's pause shows as silence of its kernel: `kernelSilentForMs` is 10 ms (calm:
 * 25) longer than the pause that is tolerated. `askAfterMs + kernelSilentForMs` is `powerOffAfterMs`: asking delays nothing.
 */

import type { DetectionProfile } from "./detection-protocol.ts";

/** For a quiet LAN and machines that never pause: tolerates 100 ms without the machine, 400 ms without the process. */
const FAST: DetectionProfile = {
  name: "fast",
  beatIntervalMs: 50,
  askAfterMs: 70,
  powerOffAfterMs: 180,
  kernelSilentForMs: 110,
  pausedAfterMs: 500,
  askIntervalMs: 20,
};

/** Tolerates 150 ms without the machine (a migration, a snapshot), and 500 ms and more without the process (at best 900 ms). */
const DEFAULT: DetectionProfile = {
  name: "default",
  beatIntervalMs: 100,
  askAfterMs: 130,
  powerOffAfterMs: 290,
  kernelSilentForMs: 160,
  pausedAfterMs: 1000,
  askIntervalMs: 30,
};

/** For busy or nested virtual machines: tolerates 450 ms without the machine, 2.7 s without the process. */
const CALM: DetectionProfile = {
  name: "calm",
  beatIntervalMs: 250,
  askAfterMs: 325,
  powerOffAfterMs: 800,
  kernelSilentForMs: 475,
  pausedAfterMs: 3000,
  askIntervalMs: 75,
};

/** By the name that `--profile` takes. */
export const PROFILES: Readonly<Record<DetectionProfile["name"], DetectionProfile>> = { fast: FAST, default: DEFAULT, calm: CALM };
