import fc from "fast-check";
import { expect, it } from "vitest";
import { ReasonBook } from "./reason-book.ts";

it("gives who was longest not looked at, and nobody whose reason is of now", () => {
  const change = fc.record({ kind: fc.constantFrom("note" as const, "note" as const, "forget" as const, "change" as const), name: fc.constantFrom("a", "b", "c", "d") });
  fc.assert(
    fc.property(fc.array(change), fc.nat(4), (changes, limit) => {
      const book = new ReasonBook();
      let revision = 0;
      let model: { readonly name: string; readonly at: number }[] = [];
      for (const { kind, name } of changes) {
        if (kind === "change") revision += 1;
        else model = model.filter((entry) => entry.name !== name);
        if (kind === "note") model.push({ name, at: revision });
        if (kind === "note") book.note(name, revision);
        if (kind === "forget") book.forget(name);
      }
      expect(book.stale(revision, limit)).toEqual(model.filter(({ at }) => at < revision).map(({ name }) => name).slice(0, limit));
    }),
  );
});
