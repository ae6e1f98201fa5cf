import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defineFlags, helpText, parseFlags, parseGoDuration } from "./flags.ts";

const table = defineFlags({
  port: { kind: "int", default: 9120, min: 0, max: 65535, help: "Port of the metrics." },
  namespace: { kind: "string", default: "", env: "HERALD_NAMESPACE", help: "Own namespace." },
  "log-level": { kind: "enum", default: "info", choices: ["debug", "info"], help: "How much to log." },
  quiet: { kind: "bool", default: false, help: "Say less." },
  timeout: { kind: "durationMs", default: 3_000, help: "How long to wait." },
  "ml-labels": { kind: "string", default: "", env: "HERALD_ML_LABELS", notInEffect: true, help: "Not yet." },
});

function message(argv: readonly string[], env: Record<string, string> = {}): string {
  const parsed = parseFlags(table, argv, env);
  if (parsed.kind !== "error") throw new Error(`expected an error, got ${JSON.stringify(parsed)}`);
  return parsed.message;
}

describe("parseFlags", () => {
  test("defaults", () => {
    expect(parseFlags(table, [], {})).toEqual({
      kind: "run",
      values: { port: 9120, namespace: "", "log-level": "info", quiet: false, timeout: 3_000, "ml-labels": "" },
      ignored: [],
    });
  });

  test.each([[["--port=1"]], [["--port", "1"]], [["-port", "1"]], [["-port=1"]], [["--port=7", "--port=1"]], [["--port=1", "--"]]])("%j sets the port", (argv) => {
    expect(parseFlags(table, argv, {})).toMatchObject({ kind: "run", values: { port: 1 } });
  });

  test("values are typed by the table", () => {
    const parsed = parseFlags(table, ["--quiet", "--log-level=debug"], {});
    if (parsed.kind !== "run") throw new Error(parsed.kind);
    const quiet: boolean = parsed.values.quiet;
    const level: "debug" | "info" = parsed.values["log-level"];
    const port: number = parsed.values.port;
    expect([quiet, level, port]).toEqual([true, "debug", 9120]);
  });

  test("the command line comes before the environment, an empty variable is none", () => {
    const env = { HERALD_NAMESPACE: "from-env" };
    expect(parseFlags(table, [], env)).toMatchObject({ values: { namespace: "from-env" } });
    expect(parseFlags(table, ["--namespace=x"], env)).toMatchObject({ values: { namespace: "x" } });
    expect(parseFlags(table, ["--namespace="], env)).toMatchObject({ values: { namespace: "" } });
    expect(parseFlags(table, [], { HERALD_ML_LABELS: "" })).toMatchObject({ ignored: [] });
  });

  test("flags not in effect are accepted and named", () => {
    expect(parseFlags(table, ["--ml-labels=a"], {})).toMatchObject({ kind: "run", ignored: ["ml-labels"] });
    expect(parseFlags(table, [], { HERALD_ML_LABELS: "a" })).toMatchObject({ ignored: ["ml-labels"] });
  });

  test.each([
    [["--prot=1"], "unknown flag --prot (did you mean --port?)"],
    [["--something-else=1"], "unknown flag --something-else"],
    [["--constructor=1"], "unknown flag --constructor"],
    [["--port=x"], '--port: "x" is not an integer'],
    [["--port=70000"], "--port: 70000 is more than 65535"],
    [["--port=-1"], "--port: -1 is less than 0"],
    [["--port"], "--port needs a value"],
    [["--log-level=loud"], '--log-level: "loud" is none of debug, info'],
    [["--quiet=maybe"], '--quiet: "maybe" is neither true nor false'],
    [["--quiet", "true"], 'unexpected argument "true"'],
    [["--", "x"], 'unexpected argument "x"'],
    [["---port=1"], "bad flag syntax: ---port=1"],
    [["-"], "bad flag syntax: -"],
    [["--timeout=3"], '--timeout: "3" is not a duration such as 300ms, 1.5s or 1m30s'],
  ])("%j is refused", (argv, expected) => {
    expect(message(argv)).toBe(expected);
  });

  test("a bad value from the environment names the variable", () => {
    const withEnv = defineFlags({ wait: { kind: "int", default: 1, env: "HERALD_WAIT", help: "" } });
    expect(parseFlags(withEnv, [], { HERALD_WAIT: "x" })).toEqual({ kind: "error", message: '--wait (from the environment variable HERALD_WAIT): "x" is not an integer' });
  });

  test("a needed flag", () => {
    const needed = defineFlags({ "node-name": { kind: "string", default: "", env: "NODE", required: true, help: "" } });
    expect(parseFlags(needed, [], {})).toEqual({ kind: "error", message: "--node-name is needed (or the environment variable NODE)" });
    expect(parseFlags(needed, [], { NODE: "n" })).toMatchObject({ kind: "run" });
  });

  test("help and version", () => {
    for (const argv of [["--help"], ["-h"], ["--port=1", "-help"]]) expect(parseFlags(table, argv, {})).toEqual({ kind: "help", text: helpText(table) });
    expect(parseFlags(table, ["--version"], {})).toEqual({ kind: "version" });
    for (const name of Object.keys(table)) expect(helpText(table)).toContain(`--${name} `);
  });

  test("any arguments give a verdict, never an exception", () => {
    const word = fc.oneof(fc.string(), fc.constantFrom("--port", "-port", "--quiet=", "--", "=", "--log-level=info", "--=1"));
    fc.assert(fc.property(fc.array(word), (argv) => ["run", "help", "version", "error"].includes(parseFlags(table, argv, {}).kind)));
  });

  test("every integer in range survives", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 65535 }), (port) => {
        expect(parseFlags(table, [`--port=${port}`], {})).toMatchObject({ values: { port } });
      }),
    );
  });
});

test.each([
  ["300ms", 300],
  ["1.5s", 1_500],
  ["1m30s", 90_000],
  ["-2h", -7_200_000],
  ["0", 0],
  ["10us", 0.01],
  [".5s", 500],
  ["5", undefined],
  ["s", undefined],
  ["", undefined],
  ["1d", undefined],
])("parseGoDuration(%j)", (text, expected) => {
  expect(parseGoDuration(text)).toBe(expected);
});
