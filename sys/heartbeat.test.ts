import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { openEventFd } from "./event-fd.ts";
import { readTextFileIfPresent } from "./files.ts";
import { Heartbeat } from "./heartbeat.ts";
import { createPoller } from "./poll.ts";
import { closeWakeFd, wake } from "./wake.ts";

describe("heartbeat", () => {
  test("one side beats, the other sees when", async () => {
    const reader = new Heartbeat();
    const writer = new Heartbeat(reader.buffer);
    expect([reader.turns, reader.wakeFd]).toEqual([0, undefined]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(reader.lastBeatAgoMs()).toBeGreaterThan(15);
    writer.beat();
    writer.setWakeFd(0);
    expect(reader.lastBeatAgoMs()).toBeLessThan(15);
    expect([reader.turns, reader.wakeFd]).toEqual([1, 0]);
  });
});

describe.skipIf(process.platform !== "linux")("eventfd and poll", () => {
  test("a wake is seen once, however many came before", () => {
    const event = openEventFd();
    const poller = createPoller();
    poller.add(event.fd);
    expect(poller.wait(0)).toEqual([]);
    wake(event.fd);
    wake(event.fd);
    expect(poller.wait(0)).toEqual([event.fd]);
    event.drain();
    expect(poller.wait(0)).toEqual([]);
    event.drain();
    poller.remove(event.fd);
    wake(event.fd);
    expect(poller.wait(0)).toEqual([]);
    closeWakeFd(event.fd);
    expect(() => event.close()).toThrow("close: EBADF");
  });

  test("waits as long as it was told", () => {
    const begin = performance.now();
    createPoller().wait(30);
    expect(performance.now() - begin).toBeGreaterThan(28);
  });
});

describe("files", () => {
  test("one that is not there is undefined, one that is too long is refused", () => {
    const folder = mkdtempSync(join(tmpdir(), "herald-files-"));
    try {
      writeFileSync(join(folder, "short"), "äöü");
      writeFileSync(join(folder, "long"), "x".repeat(1024 * 1024 + 1));
      expect(readTextFileIfPresent(join(folder, "short"))).toBe("äöü");
      expect(readTextFileIfPresent(join(folder, "none"))).toBeUndefined();
      expect(() => readTextFileIfPresent(join(folder, "long"))).toThrow("more than");
      expect(() => readTextFileIfPresent(folder)).toThrow("EISDIR");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
