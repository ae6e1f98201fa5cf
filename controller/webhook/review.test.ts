import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FakeKubeClient } from "../../kube/fake-client.ts";
import { HttpRefusal } from "../../kube/json-server.ts";
import type { CustomResource } from "../../kube/objects.ts";
import { CARRIED_ANNOTATION, convertBgpPeer } from "./bgp-peer-conversion.ts";
import { decodeAdmissionReview, decodeConversionReview, ReviewError } from "./review.ts";
import { webhookRoutes } from "./webhooks.ts";

const FORMER = "metallb.io/v1beta1";
const TODAYS = "metallb.io/v1beta2";
const envelope = { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview" };
const created = { uid: "u", operation: "CREATE", namespace: "n", name: "x", object: { metadata: { name: "x" } } };

describe("an AdmissionReview", () => {
  it("is read from what an API server sends", () => {
    // As kube-apiserver sends it, shortened.
    const review = {
      ...envelope,
      request: {
        uid: "705ab4f5-6393-11e8-b7cc-42010a800002",
        kind: { group: "metallb.io", version: "v1beta1", kind: "IPAddressPool" },
        resource: { group: "metallb.io", version: "v1beta1", resource: "ipaddresspools" },
        name: "p", namespace: "metallb-system", operation: "CREATE", userInfo: { username: "admin", groups: ["system:masters"] },
        object: { apiVersion: FORMER, kind: "IPAddressPool", metadata: { name: "p", namespace: "metallb-system", creationTimestamp: null, managedFields: [{}] }, spec: { addresses: ["10.0.0.0/24"] } },
        oldObject: null, dryRun: false, options: { kind: "CreateOptions", apiVersion: "meta.k8s.io/v1" },
      },
    };
    expect(decodeAdmissionReview(review)).toMatchObject({
      uid: "705ab4f5-6393-11e8-b7cc-42010a800002", operation: "CREATE", namespace: "metallb-system", name: "p", object: { metadata: { name: "p" }, spec: { addresses: ["10.0.0.0/24"] } }, oldObject: undefined,
    });
  });

  it("names an object by its prefix that has no name yet", () => {
    const object = { metadata: { generateName: "pool-", namespace: "n" } };
    expect(decodeAdmissionReview({ ...envelope, request: { ...created, name: "", object } })).toMatchObject({ name: "pool-", namespace: "n" });
  });

  it.each([
    [null, "the body is no AdmissionReview"],
    [[], "the body is no AdmissionReview"],
    ["text", "the body is no AdmissionReview"],
    [{}, "apiVersion: must be a string, not null"],
    [{ ...envelope, apiVersion: "admission.k8s.io/v1beta1", request: created }, "apiVersion: must be admission.k8s.io/v1"],
    [{ ...envelope, kind: "ConversionReview", request: created }, "kind: must be AdmissionReview"],
    [envelope, "request: must be an object, not null"],
    [{ ...envelope, request: { ...created, uid: 7 } }, "request.uid: must be a string, not a number"],
    [{ ...envelope, request: { ...created, operation: "PATCH" } }, "request.operation: must be one of CREATE"],
    [{ ...envelope, request: { ...created, object: undefined } }, "request.object: is missing"],
    [{ ...envelope, request: { ...created, object: [] } }, "request.object: must be an object, not a list"],
    [{ ...envelope, request: { ...created, object: {} } }, "request.object.metadata: must be an object, not null"],
    [{ ...envelope, request: { ...created, object: { metadata: { name: {} } } } }, "request.object.metadata.name: must be a string, not an object"],
    [{ ...envelope, request: { ...created, object: { metadata: { labels: { a: 1 } } } } }, 'request.object.metadata.labels["a"]: must be a string, not a number'],
  ])("%j is refused: %s", (body, message) => {
    assert.throws(() => decodeAdmissionReview(body), (error) => error instanceof ReviewError && error.message.includes(message));
  });
});

describe("BGPPeers between versions", () => {
  const former = (spec: object, annotations?: Record<string, string>): CustomResource => ({ apiVersion: FORMER, kind: "BGPPeer", metadata: { name: "p", uid: "u", ...(annotations === undefined ? {} : { annotations }) }, spec });
  const todays = (spec: object, annotations?: Record<string, string>): CustomResource => ({ ...former(spec, annotations), apiVersion: TODAYS });
  const base = { myASN: 1, peerASN: 2, peerAddress: "10.0.0.1" };

  it("an unset timer stays unset, and port 0 becomes the default", () => {
    assert.deepEqual(convertBgpPeer(former({ ...base, peerPort: 0 }), TODAYS), todays(base));
    assert.deepEqual(convertBgpPeer(former({ ...base, holdTime: "9s" }), TODAYS), todays({ ...base, holdTime: "9s" }));
  });

  it("what v1beta1 lacks survives a change made through it", () => {
    const stored = todays({ ...base, vrf: "red", connectTime: "5s", passwordSecret: { name: "s" } }, { mine: "kept" });
    const shown = convertBgpPeer(stored, FORMER);
    assert.deepEqual(shown.spec, base);
    assert.equal(shown.metadata.annotations?.["mine"], "kept");
    const changed = { ...shown, spec: { ...base, holdTime: "30s" } };
    assert.deepEqual(convertBgpPeer(changed, TODAYS), todays({ ...base, holdTime: "30s", vrf: "red", connectTime: "5s", passwordSecret: { name: "s" } }, { mine: "kept" }));
  });

  it("what v1beta1 sets replaces what excludes it", () => {
    const shown = convertBgpPeer(todays({ myASN: 1, dynamicASN: "external", interface: "eth0", passwordSecret: { name: "s" } }), FORMER);
    const changed = { ...shown, spec: { ...(shown.spec as object), ...base, password: "p" } };
    assert.deepEqual(convertBgpPeer(changed, TODAYS).spec, { ...base, password: "p" });
  });

  it("an annotation that is not ours is no spec", () => {
    for (const text of ["", "{", "[]", "7", '{"peerAddress":"1.1.1.1","color":"red"}']) {
      assert.deepEqual(convertBgpPeer(former(base, { [CARRIED_ANNOTATION]: text }), TODAYS).spec, base, text);
    }
  });

  it("nothing is lost there and back, whatever the fields hold", () => {
    const field = fc.constantFrom("myASN", "peerASN", "peerAddress", "holdTime", "vrf", "interface", "dynamicASN", "passwordSecret", "localASN", "disableMP", "peerPort");
    // Exclusive pairs are the schema's matter: a valid object has one of them.
    const spec = fc.dictionary(field, fc.jsonValue()).map((fields) => {
      const { peerASN, peerAddress, ...rest } = fields;
      return { ...rest, ...("dynamicASN" in rest ? {} : { peerASN }), ...("interface" in rest ? {} : { peerAddress }), ...(rest["peerPort"] === 0 ? { peerPort: 1 } : {}) };
    });
    fc.assert(fc.property(spec, (fields) => {
      const stored = todays(JSON.parse(JSON.stringify(fields)) as object);
      const back = convertBgpPeer(convertBgpPeer(stored, FORMER), TODAYS);
      assert.deepEqual(JSON.parse(JSON.stringify(back)), JSON.parse(JSON.stringify(stored)));
    }));
  });

  it.each(["v1", "v1beta1"])("are converted in a ConversionReview of %s, in order, and a failure says why", (version) => {
    const convert = webhookRoutes({ client: new FakeKubeClient(), namespace: "n" }).get("/convert");
    const review = (objects: object[], desiredAPIVersion: string): unknown =>
      convert?.({ apiVersion: `apiextensions.k8s.io/${version}`, kind: "ConversionReview", request: { uid: "u", desiredAPIVersion, objects } });
    expect(review([former(base), todays(base)], TODAYS)).toEqual({
      apiVersion: `apiextensions.k8s.io/${version}`, kind: "ConversionReview", response: { uid: "u", result: { status: "Success" }, convertedObjects: [todays(base), todays(base)] },
    });
    expect(review([former(base)], "metallb.io/v2")).toMatchObject({ response: { uid: "u", result: { status: "Failure", message: 'BGPPeer "p": unknown version "metallb.io/v2"' }, convertedObjects: [] } });
    expect(review([{ ...former(base), kind: "Community" }], TODAYS)).toMatchObject({ response: { result: { status: "Failure" } } });
  });

  it("are not taken from what is no ConversionReview", () => {
    assert.throws(() => decodeConversionReview({ apiVersion: "apiextensions.k8s.io/v1", kind: "ConversionReview", request: { uid: "u", desiredAPIVersion: TODAYS, objects: [7] } }), /request.objects\[0\]: must be an object/);
  });
});

it("whatever is sent, the answer is an answer or a refusal", async () => {
  const routes = webhookRoutes({ client: new FakeKubeClient(), namespace: "n" });
  const object = fc.record({ apiVersion: fc.constantFrom(FORMER, TODAYS, ""), kind: fc.constantFrom("BGPPeer", "x"), metadata: fc.oneof(fc.record({ name: fc.oneof(fc.string(), fc.jsonValue()), labels: fc.jsonValue() }), fc.jsonValue()), spec: fc.jsonValue() }, { requiredKeys: [] });
  const request = fc.record({
    uid: fc.oneof(fc.constant("u"), fc.jsonValue()), operation: fc.constantFrom("CREATE", "UPDATE", "DELETE", "x"), namespace: fc.constantFrom("n", "m", ""), name: fc.string(),
    object: fc.oneof(object, fc.jsonValue()), oldObject: fc.oneof(object, fc.constant(null)), desiredAPIVersion: fc.constantFrom(FORMER, TODAYS), objects: fc.oneof(fc.array(object), fc.jsonValue()),
  }, { requiredKeys: [] });
  // Of the others hardly one comes as far as the parsers.
  const sound = fc.record({ uid: fc.constant("u"), operation: fc.constantFrom("CREATE", "DELETE"), namespace: fc.constant("n"), name: fc.string(), object: fc.record({ metadata: fc.constant({ name: "x" }), spec: fc.jsonValue() }) });
  const body = fc.oneof(
    fc.record({ apiVersion: fc.constant("admission.k8s.io/v1"), kind: fc.constant("AdmissionReview"), request: sound }),
    fc.record({ apiVersion: fc.constantFrom("admission.k8s.io/v1", "apiextensions.k8s.io/v1"), kind: fc.constantFrom("AdmissionReview", "ConversionReview"), request: fc.oneof(request, fc.jsonValue()) }),
    fc.jsonValue(),
  );
  let answered = 0;
  await fc.assert(fc.asyncProperty(fc.constantFrom(...routes.keys()), body, async (path, sent) => {
    try {
      const answer = await routes.get(path)?.(JSON.parse(JSON.stringify(sent)));
      expect(answer).toHaveProperty("response.uid");
      answered++;
    } catch (error) {
      if (!(error instanceof HttpRefusal && error.code === 400)) throw error;
    }
  }), { numRuns: 1000 });
  assert.ok(answered > 0, "no input came so far");
});
