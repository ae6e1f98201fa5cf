/**
 * Network namespaces, for tests and benchmarks that keep their traffic to themselves. Needs root.
 */

import { closeSync, openSync } from "node:fs";

import { enterNetworkNamespace } from "./libc.ts";

/**
 * Runs `action` with the calling thread inside the namespace /run/netns/`name`, and comes back whatever happens.
 * Sockets opened and threads started inside stay there. `action` must not be asynchronous.
 * @throws SysError when the thread may not enter.
 */
export function inNetworkNamespace<Result>(name: string, action: () => Result): Result {
  const home = openSync("/proc/thread-self/ns/net", "r");
  try {
    const target = openSync(`/run/netns/${name}`, "r");
    try {
      enterNetworkNamespace(target);
    } finally {
      closeSync(target);
    }
    try {
      return action();
    } finally {
      enterNetworkNamespace(home);
    }
  } finally {
    closeSync(home);
  }
}
