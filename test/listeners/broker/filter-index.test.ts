import fc from "fast-check";
import { expect, test } from "vitest";
import { FilterIndex } from "../../../src/listeners/broker/filter-index.ts";
import { matches } from "../../../src/listeners/broker/topics.ts";

test.each([
  ["sport/#", "sport", true],
  ["sport/#", "sport/a/b", true],
  ["#", "a", true],
  ["+", "a", true],
  ["+", "/a", false],
  ["+/+", "/a", true],
  ["/+", "/a", true],
  ["a/+", "a/", true],
  ["a/+", "a", false],
  ["a/+/#", "a/b", true],
  ["#", "$SYS/a", false],
  ["+/a", "$SYS/a", false],
  ["$SYS/#", "$SYS/a", true],
  ["a", "a/", false],
])("%s matches %s: %s", (filter, topic, expected) => {
  expect(matches(filter, topic)).toBe(expected);
  const index = new FilterIndex<string>();
  index.add(filter, "v");
  expect(index.match(topic)).toEqual(expected ? ["v"] : []);
});

const name = fc.constantFrom("", "a", "b", "$x");
const topic = fc.array(name, { minLength: 1, maxLength: 4 }).map((levels) => levels.join("/"));
const filter = fc
  .tuple(
    fc.array(fc.oneof(name, fc.constant("+")), { minLength: 1, maxLength: 3 }),
    fc.constantFrom("", "/#"),
  )
  .map(([levels, rest]) => levels.join("/") + rest);

test("finds what comparing one by one finds, after any additions and removals", () => {
  const changes = fc.array(fc.tuple(filter, fc.nat({ max: 3 }), fc.boolean()), { maxLength: 30 });
  fc.assert(
    fc.property(changes, fc.array(topic, { maxLength: 5 }), (steps, topics) => {
      const index = new FilterIndex<number>();
      const model = new Set<string>();
      for (const [f, value, adds] of steps) {
        const key = `${f} ${value}`;
        if (adds) {
          index.add(f, value);
          model.add(key);
        } else {
          index.remove(f, value);
          model.delete(key);
        }
      }
      expect(index.size).toBe(model.size);
      for (const t of topics) {
        const expected = [...model].map((key) => key.split(" ")).filter(([f]) => matches(f, t));
        expect(index.match(t).toSorted()).toEqual(expected.map(([, v]) => Number(v)).toSorted());
      }
    }),
  );
});
