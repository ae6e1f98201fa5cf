/**
 * The style check: what a linter does not know about this repository. Which folder may import which, where the clock and
 * the operating system may be touched, and what a file may be called. Prints every breach and exits 1 if there is one.
 * `node scripts/tidy.ts`
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

interface FolderRule {
  /** Longest matching prefix wins. */
  readonly folder: string;
  /** Folders (or files) of ours that it may import, besides itself. */
  readonly ours: readonly string[];
  /** Packages and node: modules that it may import; "*" is any. */
  readonly packages: readonly string[];
}

/** Hashes and ciphers are functions and may be used anywhere; assert stops a broken invariant in production too. */
const PURE = ["node:assert", "node:crypto"];

/** The direction of dependencies, docs/architecture.md. Tests beside a file may import what they like. */
const FOLDER_RULES: readonly FolderRule[] = [
  { folder: "wire/", ours: [], packages: PURE },
  { folder: "config/", ours: ["wire/", "kube/objects.ts", "package.json"], packages: [...PURE, "js-yaml"] },
  { folder: "kube/", ours: ["sys/", "wire/"], packages: ["*"] },
  { folder: "sys/", ours: ["wire/"], packages: ["*"] },
  { folder: "controller/allocator/", ours: ["wire/", "config/"], packages: PURE },
  { folder: "controller/reconcile/", ours: ["wire/", "config/", "kube/", "controller/allocator/"], packages: PURE },
  { folder: "controller/", ours: ["wire/", "config/", "kube/", "sys/"], packages: [...PURE, "prom-client"] },
  { folder: "speaker/layer2/", ours: ["wire/", "speaker/machine.ts", "speaker/packet-protocol.ts"], packages: PURE },
  { folder: "speaker/election/", ours: ["wire/", "config/", "kube/objects.ts", "speaker/machine.ts", "speaker/packet-protocol.ts"], packages: [...PURE, "hashring"] },
  { folder: "speaker/membership/", ours: ["wire/", "speaker/machine.ts"], packages: [...PURE, "node:zlib"] },
  { folder: "speaker/detection/", ours: ["wire/", "speaker/machine.ts"], packages: PURE },
  {
    folder: "speaker/agreement/",
    ours: ["wire/", "speaker/machine.ts", "speaker/packet-protocol.ts", "speaker/membership/", "speaker/detection/", "speaker/election/"],
    packages: PURE,
  },
  { folder: "speaker/", ours: ["wire/", "config/", "kube/", "sys/"], packages: [...PURE, "prom-client", "node:worker_threads"] },
  { folder: "cli/", ours: ["wire/", "config/", "sys/", "kube/objects.ts"], packages: [...PURE, "js-yaml"] },
  { folder: "test/", ours: ["*"], packages: ["*"] },
  { folder: "bench/", ours: ["*"], packages: ["*"] },
  { folder: "scripts/", ours: ["*"], packages: ["*"] },
];

/** Only these may know what time it is, throw dice or read the process: the doors, the two mains and the thread's entry. */
const MAY_TOUCH_THE_WORLD = [/^sys\//, /^test\//, /^bench\//, /^scripts\//, /\.test\.ts$/, /\/main\.ts$/, /^speaker\/packet-thread(-handle)?\.ts$/, /^vitest\.config\.ts$/];
const WORLD = /(?<![\w.#"'])(Date\.now|new Date\(\)|performance\.|setTimeout|setInterval|setImmediate|process\.|Math\.random)(?!\w*:)/;

const FORBIDDEN_NAMES = /(^|\/)(utils?|common|helpers?)(\/|\.ts$)/;
const MAX_LINES = 400;

/** Folders that a decision speaks of before they exist. */
const PLANNED: ReadonlySet<string> = new Set(["speaker/bgp", "speaker/bfd"]);

const breaches: string[] = [];
const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.ts"], { cwd: root, encoding: "utf8" })
  .split("\n")
  .filter((file) => file !== "" && existsSync(join(root, file)));

for (const file of files) {
  const text = readFileSync(join(root, file), "utf8");
  checkName(file, text);
  if (!file.endsWith(".test.ts")) checkImports(file, text);
  if (!MAY_TOUCH_THE_WORLD.some((pattern) => pattern.test(file))) checkWorld(file, text);
}
checkScripts();
checkDocs();

for (const breach of breaches) console.error(breach);
console.log(`tidy: ${files.length} files, ${breaches.length} breaches`);
process.exitCode = breaches.length === 0 ? 0 : 1;

function checkName(file: string, text: string): void {
  if (FORBIDDEN_NAMES.test(file)) breaches.push(`${file}: name it after what it holds; a type lives with its lowest user`);
  if (!/^[a-z0-9./-]+$/.test(file)) breaches.push(`${file}: file names are kebab-case`);
  const lines = text.split("\n").length;
  if (lines > MAX_LINES) breaches.push(`${file}: ${lines} lines; past ${MAX_LINES} look for the second concept inside`);
}

function checkImports(file: string, text: string): void {
  const rule = FOLDER_RULES.filter(({ folder }) => file.startsWith(folder)).toSorted((a, b) => b.folder.length - a.folder.length)[0];
  if (rule === undefined) return;
  for (const match of text.matchAll(/^(?:import|export)\b[^"';]*?\bfrom "([^"]+)"|^import "([^"]+)"|\bimport\("([^"]+)"\)/gm)) {
    const target = match[1] ?? match[2] ?? match[3] ?? "";
    if (target.startsWith(".")) checkOwnImport({ file, target: normalize(join(dirname(file), target)), rule });
    else if (!allows(rule.packages, target)) breaches.push(`${file}: ${rule.folder} may not import ${target}`);
  }
}

function checkOwnImport({ file, target, rule }: { file: string; target: string; rule: FolderRule }): void {
  if (target.startsWith("test/") && !rule.ours.includes("*")) breaches.push(`${file}: nothing imports test/`);
  // A parent folder (controller/) wires its children; a child imports only what its rule names.
  else if (!target.startsWith(rule.folder) && !allows(rule.ours, target)) breaches.push(`${file}: ${rule.folder} may not import ${target}`);
}

function allows(list: readonly string[], target: string): boolean {
  return list.some((entry) => entry === "*" || (entry.endsWith("/") ? target.startsWith(entry) : target === entry || target.startsWith(`${entry}/`)));
}

function checkWorld(file: string, text: string): void {
  for (const [index, line] of text.split("\n").entries()) {
    if (/^\s*(\*|\/\/|\/\*|import |export .* from )/.test(line)) continue;
    const found = WORLD.exec(line.replace(/\/\/.*$/, ""));
    if (found !== null) breaches.push(`${file}:${index + 1}: ${found[1]} belongs in sys/, a main.ts or packet-thread.ts; pass it in`);
  }
}

/** package.json lists no script that does not work: each names a file that exists. */
function checkScripts(): void {
  const { scripts = {} } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts?: Record<string, string> };
  for (const [name, command] of Object.entries(scripts)) {
    for (const path of command.match(/\b(?:scripts|test|bench|controller|speaker|cli)\/[\w./-]+/g) ?? []) {
      if (!existsSync(join(root, path))) breaches.push(`package.json: script "${name}" names ${path}, which does not exist`);
    }
  }
}

/** A page that names a file or a folder of the repository names one that exists. */
function checkDocs(): void {
  const pages = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "*.md"], { cwd: root, encoding: "utf8" }).split("\n").filter((page) => page !== "" && existsSync(join(root, page)));
  for (const page of pages) {
    const text = readFileSync(join(root, page), "utf8");
    for (const [, path = ""] of text.matchAll(/`((?:bench|charts|cli|config|controller|crds|docs|kube|scripts|speaker|sys|test|wire)\/[\w./-]*)`/g)) {
      if (!existsSync(join(root, path)) && !PLANNED.has(path)) breaches.push(`${page}: ${path} does not exist`);
    }
    for (const [, path = ""] of text.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) {
      if (!existsSync(join(root, dirname(page), path))) breaches.push(`${page}: the link to ${path} leads nowhere`);
    }
  }
}
