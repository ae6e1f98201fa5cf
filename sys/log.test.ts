import { expect, test } from "vitest";
import { createLogger, type LogLevel } from "./log.ts";

function written(level: LogLevel): Record<string, unknown>[] {
  const lines: string[] = [];
  const log = createLogger(level, { write: (line) => void lines.push(line) });
  log.debug("aDebug");
  log.info("anInfo", { key: "ns/name", error: new Error("boom"), event: "clash" });
  log.warn("aWarning");
  log.error("anError");
  return lines.map((line): Record<string, unknown> => JSON.parse(line));
}

test("a line has ts, level as text, event and the fields, and nothing else", () => {
  const line = written("info")[0];
  expect(line).toEqual({ ts: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/), level: "info", event: "anInfo", key: "ns/name", error: "boom", event_: "clash" });
});

test.each([
  ["all", 4],
  ["debug", 4],
  ["info", 3],
  ["warn", 2],
  ["error", 1],
  ["none", 0],
] as const)("level %s writes %d of four", (level, count) => {
  expect(written(level)).toHaveLength(count);
});
