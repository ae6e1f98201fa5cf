import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LabelSelector } from "./config.ts";
import { FieldErrors } from "./field-errors.ts";
import { matchesAny, readSelector, readSelectors, selectorMatches } from "./label-selector.ts";

function read(value: unknown): { selector: LabelSelector | undefined; errors: string[] } {
  const errors = new FieldErrors({ kind: "K", name: "n" });
  const selector = readSelector({ value, path: "s", errors });
  return { selector, errors: errors.list.map(({ path, message }) => `${path}: ${message}`) };
}

function matches(value: unknown, labels: Record<string, string> | undefined): boolean {
  const { selector, errors } = read(value);
  if (selector === undefined) expect.fail(errors.join());
  return selectorMatches(selector, labels);
}

const expression = (operator: string, ...values: string[]): unknown => ({ matchExpressions: [{ key: "a", operator, values }] });

describe("selectorMatches", () => {
  it.each<[unknown, Record<string, string> | undefined, boolean]>([
    [{}, {}, true], [{}, undefined, true], [{}, { x: "y" }, true],
    [{ matchLabels: { a: "1" } }, { a: "1", b: "2" }, true], [{ matchLabels: { a: "1" } }, { a: "2" }, false], [{ matchLabels: { a: "" } }, {}, false],
    [{ matchLabels: { a: "1", b: "2" } }, { a: "1" }, false],
    [expression("In", "1", "2"), { a: "2" }, true], [expression("In", "1", "2"), { a: "3" }, false], [expression("In", "1"), {}, false],
    [expression("NotIn", "1"), { a: "2" }, true], [expression("NotIn", "1"), { a: "1" }, false], [expression("NotIn", "1"), {}, true],
    [expression("Exists"), { a: "" }, true], [expression("Exists"), { b: "" }, false],
    [expression("DoesNotExist"), {}, true], [expression("DoesNotExist"), { a: "" }, false],
    [{ matchLabels: { b: "2" }, matchExpressions: [{ key: "a", operator: "Exists" }] }, { a: "1" }, false],
    [{ matchExpressions: [{ key: "constructor", operator: "Exists" }] }, {}, false],
  ])("%j on %j is %s", (selector, labels, expected) => {
    expect(matches(selector, labels)).toBe(expected);
  });

  it("of a list is true when one matches, or when the list is empty", () => {
    const red = { matchLabels: { color: "red" }, matchExpressions: [] };
    const blue = { matchLabels: { color: "blue" }, matchExpressions: [] };
    expect([matchesAny([], {}), matchesAny([red, blue], { color: "blue" }), matchesAny([red, blue], {})]).toEqual([true, true, false]);
  });

  it("of NotIn is always the contrary of In", () => {
    const value = fc.constantFrom("1", "2", "3");
    fc.assert(fc.property(fc.uniqueArray(value, { minLength: 1 }), fc.option(value, { nil: undefined }), (values, actual) => {
      const labels: Record<string, string> = actual === undefined ? {} : { a: actual };
      expect(matches(expression("In", ...values), labels)).toBe(!matches(expression("NotIn", ...values), labels));
    }));
  });
});

describe("readSelector", () => {
  it.each<[unknown, string]>([
    [7, "s: must be an object, not a number"],
    [null, "s: must be an object, not null"],
    [{ matchLabels: { a: 1 } }, 's.matchLabels["a"]: must be a string, not a number'],
    [{ matchLabels: { "a b": "1" } }, 's.matchLabels["a b"]: invalid label key "a b"'],
    [{ matchLabels: { "A.com/x": "1" } }, 's.matchLabels["A.com/x"]: invalid label key "A.com/x"'],
    [{ matchLabels: { "/x": "1" } }, 's.matchLabels["/x"]: invalid label key "/x"'],
    [{ matchLabels: { ["x".repeat(64)]: "1" } }, "invalid label key"],
    [{ matchLabels: { a: "-" } }, 's.matchLabels["a"]: invalid label value "-"'],
    [expression("Is"), 's.matchExpressions[0].operator: "Is" is not a valid label selector operator'],
    [expression("In"), "s.matchExpressions[0].values: must not be empty when the operator is In"],
    [expression("Exists", "1"), "s.matchExpressions[0].values: must be empty when the operator is Exists"],
    [expression("In", "1", "1"), 's.matchExpressions[0].values[1]: duplicate definition of match expression value "1"'],
    [{ matchExpressions: [{ operator: "Exists" }] }, "s.matchExpressions[0].key: must be a string, not null"],
    [{ matchExpressions: [null] }, "s.matchExpressions[0]: must be an object, not null"],
    [{ matchExpressions: [{ key: "a", operator: "In", values: ["1", "2"] }, { key: "a", operator: "In", values: ["2", "1"] }] }, 's.matchExpressions[1]: duplicate definition of match expression "a in (1,2)"'],
  ])("refuses %j", (value, message) => {
    const { selector, errors } = read(value);
    expect(selector).toBeUndefined();
    expect(errors).toEqual([expect.stringContaining(message)]);
  });

  it.each(["a", "example.com/a_b.c", "node.kubernetes.io/exclude-from-external-load-balancers"])("takes the key %s", (key) => {
    expect(read({ matchLabels: { [key]: "" } }).errors).toEqual([]);
  });

  it("takes a selector for a duplicate when only its order differs", () => {
    const errors = new FieldErrors({ kind: "K", name: "n" });
    const value = [{ matchLabels: { a: "1", b: "2" } }, { matchLabels: { b: "2", a: "1" } }];
    expect(readSelectors({ value, path: "s", errors }, "nodeSelectors")).toHaveLength(1);
    expect(errors.list.map(({ message }) => message)).toEqual(['duplicate definition of nodeSelectors "a=1,b=2"']);
  });
});
