import { expect, test } from "vitest";
import { ownNamespace } from "./own-namespace.ts";

test("the flag wins over the service account, and that over the default", () => {
  expect(ownNamespace("asked", () => "mounted\n")).toBe("asked");
  expect(ownNamespace("", () => "mounted\n")).toBe("mounted");
  expect(ownNamespace("", () => undefined)).toBe("metallb-system");
  expect(ownNamespace("", () => " \n")).toBe("metallb-system");
});
