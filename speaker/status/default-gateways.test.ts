import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MAX_DEFAULT_GATEWAYS } from "../../config/default-gateways.ts";
import { FakeClock } from "../../sys/fake-clock.ts";
import { silentLogger } from "../../sys/log.ts";
import { SysError } from "../../sys/sys-error.ts";
import { DefaultGateways, KEEP_MS, LOOK_INTERVAL_MS, TELL_INTERVAL_MS } from "./default-gateways.ts";

let clock: FakeClock;
let routes: () => string[];
let told: string[];
let warnings: string[];
let gateways: DefaultGateways;
beforeEach(() => {
  clock = new FakeClock();
  routes = () => [];
  told = [];
  warnings = [];
  gateways = new DefaultGateways({
    clock,
    log: { ...silentLogger, warn: (event) => warnings.push(event) },
    read: (family) => routes().filter((address) => address.includes(":") === (family === "IPv6")).map((address) => ({ address, interfaceName: "eth0", metric: 0 })),
    onChange: (text) => told.push(text),
  });
});
afterEach(() => gateways.stop());

const HOUR = 3_600_000;

describe("default gateways of the node", () => {
  it("are told at once, of both families, without those of one link only", () => {
    routes = () => ["fd00::1", "10.0.0.254", "fe80::1", "10.0.0.1"];
    gateways.start();
    expect(told).toEqual(["10.0.0.1,10.0.0.254,fd00::1"]);
  });

  it("are told as none where there is none", () => {
    routes = () => ["fe80::1"];
    gateways.start();
    expect(told).toEqual([""]);
  });

  it("are told once as long as they stay", async () => {
    routes = () => ["10.0.0.1"];
    gateways.start();
    await clock.advance(HOUR);
    expect(told).toEqual(["10.0.0.1"]);
  });

  it("that come later are told at the next look, those that go a while later", async () => {
    gateways.start();
    await clock.advance(HOUR);
    routes = () => ["10.0.0.1"];
    await clock.advance(LOOK_INTERVAL_MS);
    expect(told).toEqual(["", "10.0.0.1"]);
    await clock.advance(HOUR);
    routes = () => [];
    await clock.advance(KEEP_MS - LOOK_INTERVAL_MS);
    expect(told).toEqual(["", "10.0.0.1"]);
    await clock.advance(2 * LOOK_INTERVAL_MS);
    expect(told).toEqual(["", "10.0.0.1", ""]);
  });

  it("that flap, or take turns, are told once", async () => {
    let look = 0;
    routes = () => [["10.0.0.1"], [], ["10.0.0.2"]][look++ % 3] ?? [];
    gateways.start();
    await clock.advance(HOUR);
    expect(told).toEqual(["10.0.0.1", "10.0.0.1,10.0.0.2"]);
  });

  it("that are others at every look don't make a storm, and are no more than their share", async () => {
    let look = 0;
    routes = () => {
      look += 1;
      return Array.from({ length: 200 }, (_, index) => `10.${index}.${look & 255}.${look >> 8}`);
    };
    gateways.start();
    await clock.advance(HOUR);
    expect(told.length).toBeGreaterThan(10);
    expect(told.length).toBeLessThanOrEqual(HOUR / TELL_INTERVAL_MS + 1);
    expect(Math.max(...told.map((text) => text.split(",").length))).toBeLessThanOrEqual(MAX_DEFAULT_GATEWAYS);
  });

  it("are what they were while the tables can't be read, which is warned of once", async () => {
    const broken = (): never => {
      throw new SysError({ code: "EMFILE", syscall: "open" });
    };
    routes = broken;
    gateways.start();
    await clock.advance(HOUR);
    expect([told, warnings]).toEqual([[], ["gatewaysUnreadable"]]);
    routes = () => ["10.0.0.1"];
    await clock.advance(LOOK_INTERVAL_MS);
    routes = broken;
    await clock.advance(HOUR);
    routes = () => ["10.0.0.1"];
    await clock.advance(HOUR);
    expect([told, warnings]).toEqual([["10.0.0.1"], ["gatewaysUnreadable", "gatewaysUnreadable"]]);
  });

  it("are no longer looked at after the end", async () => {
    gateways.start();
    gateways.stop();
    expect(clock.timers).toBe(0);
  });
});
