import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Service } from "../../kube/objects.ts";
import { formatIpAddress, type IpAddress, parseIpAddress } from "../../wire/ip-address.ts";
import { ADDRESS_ASSIGNED } from "./conditions.ts";
import { recordedAddresses, recordText, shownAsRecorded, shownByRecord } from "./service-record.ts";

const FOUR = parseIpAddress("10.0.0.1");
const SIX = parseIpAddress("fd00::1");

function service(message: string | undefined, { shown = [], pool }: { shown?: readonly string[]; pool?: string } = {}): Service {
  const conditions = message === undefined ? [] : [{ type: ADDRESS_ASSIGNED, status: "True" as const, reason: "Assigned", message, lastTransitionTime: "2026-01-01T00:00:00Z" }];
  return {
    metadata: { namespace: "default", name: "s", annotations: pool === undefined ? {} : { "metallb.io/ip-allocated-from-pool": pool } },
    spec: { type: "LoadBalancer" },
    status: { conditions, loadBalancer: { ingress: shown.map((ip) => ({ ip })) } },
  };
}

function poolOf(address: IpAddress): string | undefined {
  return address.family === "IPv6" ? "six" : "four";
}

function texts(addresses: readonly IpAddress[] | undefined): string[] | undefined {
  return addresses?.map(formatIpAddress);
}

describe("the record in a Service's condition", () => {
  it("is read as it was written, of whatever pool, also before the words of a refusal", () => {
    const address = fc.oneof(fc.ipV4(), fc.ipV6()).map(parseIpAddress);
    fc.assert(
      fc.property(fc.array(address, { minLength: 1, maxLength: 2 }), fc.string(), fc.string(), (addresses, pool, words) => {
        const text = recordText(addresses, pool);
        const expected = texts(addresses);
        expect(texts(recordedAddresses(service(text)))).toEqual(expected);
        expect(texts(recordedAddresses(service(`keeps ${text}: ${words}`)))).toEqual(expected);
      }),
    );
  });

  it("is none in other words, and in no words", () => {
    for (const message of [undefined, "", "no available IPs", '["10.0.0.1"] is not allowed in config', "[] from pool \"p\"", '["10.0.0.1.2"] from pool "p"', 'no ["10.0.0.1"] from pool "p"']) {
      expect([message, recordedAddresses(service(message))]).toEqual([message, undefined]);
    }
    expect(recordedAddresses(service(recordText([FOUR, SIX], "p")))).toEqual([FOUR, SIX]);
  });
});

describe("the record of a Service that was given nothing", () => {
  it("is that it has none, whatever it shows", () => {
    const refused = service("no available IPs", { shown: ["10.0.0.1"] });
    for (const condition of refused.status?.conditions ?? []) Object.assign(condition, { status: "False", reason: "NoFreeAddress" });
    expect(recordedAddresses(refused)).toEqual([]);
    expect(shownAsRecorded(refused, poolOf)).toEqual([]);
    expect(texts(shownByRecord(refused, poolOf))).toEqual(["10.0.0.1"]);
  });
});

describe("what a Service shows", () => {
  it("comes in the order of record, annotation, status", () => {
    const shown = ["fd00::9", "10.0.0.9", "10.0.0.1", "fd00::1"];
    expect(texts(shownByRecord(service(undefined, { shown }), poolOf))).toEqual(shown);
    expect(texts(shownByRecord(service(undefined, { shown, pool: "four" }), poolOf))).toEqual(["10.0.0.9", "10.0.0.1", "fd00::9", "fd00::1"]);
    expect(texts(shownByRecord(service(recordText([FOUR, SIX], "gone"), { shown, pool: "four" }), poolOf))).toEqual(["10.0.0.1", "fd00::1", "10.0.0.9", "fd00::9"]);
  });

  it("is what it was given, where that is known", () => {
    const shown = ["fd00::9", "10.0.0.1"];
    expect(texts(shownAsRecorded(service(recordText([FOUR, SIX], "p"), { shown }), poolOf))).toEqual(["10.0.0.1"]);
    expect(texts(shownAsRecorded(service(recordText([SIX], "p"), { shown }), poolOf))).toEqual([]);
    expect(texts(shownAsRecorded(service("no available IPs", { shown }), poolOf))).toEqual(shown);
  });
});
