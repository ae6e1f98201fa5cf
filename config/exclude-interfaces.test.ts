import { describe, expect, test } from "vitest";

import { MAX_EXCLUDE_ENTRIES, MAX_EXCLUDE_LENGTH, parseExcludeInterfaces } from "./exclude-interfaces.ts";

function excludes(expression: string, name: string): boolean {
  return parseExcludeInterfaces(JSON.stringify({ announcedInterfacesToExclude: [expression] })).some((source) => new RegExp(source).test(name));
}

describe("exclude file", () => {
  test("is a list of expressions in the order of the file", () => {
    expect(parseExcludeInterfaces("announcedInterfacesToExclude: ['^docker.*', ^lo$]\n")).toEqual(["^docker.*", "^lo$"]);
  });

  test.each(["", "# nothing\n", "announcedInterfacesToExclude:\n", "announcedInterfacesToExclude: []", "other: 1"])("%j excludes nothing", (text) => {
    expect(parseExcludeInterfaces(text)).toEqual([]);
  });

  test.each([
    ["veth", "myveth0", true],
    ["^veth", "myveth0", false],
    ["\\Alo\\z", "lo", true],
    ["\\Alo\\z", "lo0", false],
    ["(?i)ETH", "eth0", true],
    ["(?i)a|ETH", "eth0", true],
    ["^(?P<kind>eth)[[:digit:]]+$", "eth10", true],
    ["^[^[:alpha:]]", "eth10", false],
    ["^eth\\\\1", "eth\\1", true],
  ])("%s against %s: %s", (expression, name, expected) => {
    expect(excludes(expression, name)).toBe(expected);
  });

  test.each([
    ["{", "not YAML"],
    ["[]", "a mapping"],
    ["announcedInterfacesToExclude: eth0", "is not a list"],
    ["announcedInterfacesToExclude: [a, 7]", "announcedInterfacesToExclude[1] is not a string"],
    ["announcedInterfacesToExclude: [a, '(']", 'announcedInterfacesToExclude[1]: "(" is no regular expression'],
    ["announcedInterfacesToExclude: ['a(?=b)']", "looks ahead"],
    ["announcedInterfacesToExclude: ['(a)\\1']", "refers back"],
    [JSON.stringify({ announcedInterfacesToExclude: ["a".repeat(MAX_EXCLUDE_LENGTH + 1)] }), "characters"],
    [JSON.stringify({ announcedInterfacesToExclude: Array.from({ length: MAX_EXCLUDE_ENTRIES + 1 }, () => "a") }), "entries"],
  ])("%# is refused and says why", (text, message) => {
    expect(() => parseExcludeInterfaces(text)).toThrow(message);
  });
});
