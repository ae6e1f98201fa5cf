import assert from "node:assert/strict";
import { test } from "vitest";
import { spdxDocument } from "./sbom.ts";

const product = { name: "herald", version: "1.2.3", purl: "pkg:oci/herald@1.2.3?arch=amd64" };
const koffi = { name: "koffi", version: "3.3.4", license: "MIT", purl: "pkg:npm/koffi@3.3.4" };
const libc = { name: "libc6", version: "2.36-9", purl: "pkg:deb/debian/libc6@2.36-9?arch=amd64", supplier: "Organization: Debian" };

interface Document {
  readonly documentNamespace: string;
  readonly packages: readonly { readonly SPDXID: string; readonly licenseDeclared: string; readonly externalRefs: readonly { readonly referenceLocator: string }[] }[];
  readonly relationships: readonly { readonly relationshipType: string; readonly relatedSpdxElement: string }[];
}

const parse = (parts: readonly (typeof koffi | typeof libc)[]): Document => JSON.parse(spdxDocument({ product, parts, createdSeconds: 0 })) as Document;

test("every part is a package with its own identifier, and contained in the product", () => {
  const { packages, relationships } = parse([libc, koffi]);
  assert.deepEqual(packages.map(({ externalRefs }) => externalRefs[0]?.referenceLocator), [product.purl, libc.purl, koffi.purl]);
  assert.equal(new Set(packages.map(({ SPDXID }) => SPDXID)).size, 3);
  for (const { SPDXID } of packages) assert.match(SPDXID, /^SPDXRef-[A-Za-z0-9.-]+$/);
  assert.deepEqual(relationships.filter(({ relationshipType }) => relationshipType === "CONTAINS").map(({ relatedSpdxElement }) => relatedSpdxElement), packages.slice(1).map(({ SPDXID }) => SPDXID));
  assert.deepEqual(packages.map(({ licenseDeclared }) => licenseDeclared), ["NOASSERTION", "NOASSERTION", "MIT"]);
});

test("the order of parts makes no difference, another version makes another document", () => {
  assert.deepEqual(parse([koffi, libc]), parse([libc, koffi]));
  assert.notEqual(parse([koffi]).documentNamespace, parse([{ ...koffi, version: "3.3.5" }]).documentNamespace);
});
