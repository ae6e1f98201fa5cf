/**
 * Keeps V8's young generation from growing: each half stays at its first size (1 MB) instead of growing to 16 MB. What
 * Herald allocates in a burst (a list of 1,000 Services) either dies at once or stays for good, so that the room would
 * only be held, never needed: it saves 10 to 15 MB of resident memory per process (bench/memory.ts).
 * Imported for its effect, before anything else; the packet thread has a limit of its own.
 */
import { setFlagsFromString } from "node:v8";

setFlagsFromString("--semi-space-growth-factor=1");
