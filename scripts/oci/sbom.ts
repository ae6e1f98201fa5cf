/** Writes a software bill of materials: SPDX 2.3 in JSON (spdx.github.io/spdx-spec/v2.3), the same bytes for the same parts. */
import { createHash } from "node:crypto";

/** One thing that is in what is shipped. */
export interface Part {
  readonly name: string;
  readonly version: string;
  /** An SPDX licence expression, undefined when the source does not tell one. */
  readonly license?: string | undefined;
  /** Package URL, e.g. `pkg:npm/koffi@3.3.4` (github.com/package-url/purl-spec). */
  readonly purl: string;
  /** Who supplies it, e.g. "Organization: Debian". */
  readonly supplier?: string | undefined;
}

export interface Sbom {
  /** What contains the parts. */
  readonly product: Part;
  readonly parts: readonly Part[];
  readonly createdSeconds: number;
}

/** The document as text. Parts are sorted by package URL. */
export function spdxDocument({ product, parts, createdSeconds }: Sbom): string {
  const sorted = parts.toSorted((a, b) => (a.purl < b.purl ? -1 : 1));
  const all = [product, ...sorted];
  // A namespace must be unique to the document: it is made from what the document says.
  const sum = createHash("sha256").update(JSON.stringify(all)).digest("hex");
  const document = {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: `${product.name}-${product.version}`,
    documentNamespace: `https://herald.invalid/spdx/${product.name}-${product.version}-${sum}`,
    creationInfo: { created: `${new Date(createdSeconds * 1000).toISOString().slice(0, 19)}Z`, creators: ["Tool: herald-scripts/image.ts"] },
    documentDescribes: [identifier(product)],
    packages: all.map(describe),
    relationships: [
      { spdxElementId: "SPDXRef-DOCUMENT", relationshipType: "DESCRIBES", relatedSpdxElement: identifier(product) },
      ...sorted.map((part) => ({ spdxElementId: identifier(product), relationshipType: "CONTAINS", relatedSpdxElement: identifier(part) })),
    ],
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function describe(part: Part): object {
  return {
    SPDXID: identifier(part),
    name: part.name,
    versionInfo: part.version,
    supplier: part.supplier ?? "NOASSERTION",
    downloadLocation: "NOASSERTION",
    filesAnalyzed: false,
    licenseConcluded: "NOASSERTION",
    licenseDeclared: part.license ?? "NOASSERTION",
    copyrightText: "NOASSERTION",
    externalRefs: [{ referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator: part.purl }],
  };
}

/** SPDX allows letters, digits, dots and hyphens only. */
function identifier(part: Part): string {
  return `SPDXRef-${part.purl.replace(/^pkg:/, "").replace(/[^A-Za-z0-9.-]+/g, "-")}`;
}
