import { expect, test } from "vitest";

import { SysError } from "../sys/sys-error.ts";
import { NetworkFailures } from "./network-failures.ts";

function make(): { readonly failures: NetworkFailures; readonly dropped: string[]; readonly warnings: unknown[] } {
  const [dropped, warnings]: [string[], unknown[]] = [[], []];
  return { failures: new NetworkFailures({ dropped: (reason) => dropped.push(reason), warn: (event, fields) => warnings.push({ event, ...fields }) }), dropped, warnings };
}

const error = (code: string): SysError => new SysError({ code, syscall: "sendto" });

test.each([
  ["ENETDOWN", "sendInterfaceDown"],
  ["ENOBUFS", "sendQueueFull"],
  ["EHOSTUNREACH", "sendUnreachable"],
  ["ECONNRESET", "sendPeerGone"],
])("%s is counted as %s, and nobody is warned", (code, reason) => {
  const { failures, dropped, warnings } = make();
  expect(failures.record(error(code), "send").code).toBe(code);
  expect([dropped, warnings]).toEqual([[reason], []]);
});

test("what is unusual is counted each time, and warned of once for each code and deed", () => {
  const { failures, dropped, warnings } = make();
  for (const code of ["EPERM", "EPERM", "EMSGSIZE"]) failures.record(error(code), "send");
  failures.record(error("EPERM"), "receive");
  expect(dropped).toEqual(["sendFailed", "sendFailed", "sendFailed", "receiveFailed"]);
  expect(warnings).toEqual([
    { event: "sendFailed", code: "EPERM", syscall: "sendto" },
    { event: "sendFailed", code: "EMSGSIZE", syscall: "sendto" },
    { event: "receiveFailed", code: "EPERM", syscall: "sendto" },
  ]);
});

test("a mistake of ours goes on", () => {
  const { failures, dropped } = make();
  expect(() => failures.record(error("EBADF"), "send")).toThrow("EBADF");
  expect(() => failures.record(new TypeError("no"), "send")).toThrow("no");
  expect(dropped).toEqual([]);
});
