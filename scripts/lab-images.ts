/**
 * Packs the programs of the full lab's own pods into images, each from scratch with one static program in it, and writes
 * them as archives that container runtimes import. scripts/setup builds the programs and calls this.
 * `node scripts/lab-images.ts --out ARCHIVE --reference REFERENCE --program FILE [--argument WORD]...`
 */
import { closeSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { hostArchitecture } from "./oci/architecture.ts";
import { imageArchive } from "./oci/image-archive.ts";

const { values } = parseArgs({
  options: {
    out: { type: "string" },
    reference: { type: "string" },
    program: { type: "string" },
    argument: { type: "string", multiple: true, default: [] },
  },
});
const { out, reference, program, argument } = values;
if (out === undefined || reference === undefined || program === undefined) throw new Error("--out, --reference and --program are needed");

const name = basename(program);
const { pieces, digest } = imageArchive({
  reference,
  architecture: hostArchitecture(),
  createdSeconds: 0,
  // A program that expects a folder for its files finds one.
  layers: [{ comment: `COPY ${name}`, entries: [{ kind: "file", path: name, mode: 0o755, content: readFileSync(program) }, { kind: "directory", path: "tmp", mode: 0o1777 }] }],
  defaults: { entrypoint: [`/${name}`], command: argument },
  compressed: false,
});
// Written beside the target and moved into place, so that nobody reads half an archive.
const staging = `${out}.new-${process.pid}`;
const file = openSync(staging, "w");
for (const piece of pieces) writeSync(file, piece);
closeSync(file);
renameSync(staging, out);
console.error(`setup: full: ${reference} ${digest}`);
