import fc from "fast-check";
import { expect, test } from "vitest";
import { NONE, RowLists } from "../../src/live/row-list.ts";

test("lists hold what a set would, whatever comes and goes", () => {
  const step = fc.record({ name: fc.nat(3), row: fc.nat(60) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
      const lists = new RowLists();
      const heads = [NONE, NONE, NONE, NONE];
      const model = heads.map(() => new Set<number>());
      const placeOf = heads.map(() => new Map<number, number>());
      for (const { name, row } of steps) {
        const places = placeOf[name];
        if (model[name].delete(row)) {
          const place = places.get(row) as number;
          const { moved, rest } = lists.remove(heads[name], place);
          places.set(moved, place);
          places.delete(row);
          heads[name] = rest;
        } else {
          model[name].add(row);
          const place = lists.add(heads[name], row);
          places.set(row, place);
          heads[name] = lists.listAt(place);
        }
        for (const [i, head] of heads.entries()) {
          const seen: number[] = [];
          if (head !== NONE) lists.visit(head, (found) => seen.push(found) > 0);
          expect(seen.sort((a, b) => a - b)).toEqual([...model[i]].sort((a, b) => a - b));
        }
      }
    }),
    { numRuns: 50 },
  );
});

test("a visit ends when it has seen enough", () => {
  const lists = new RowLists();
  let head = NONE;
  for (let row = 0; row < 40; row++) head = lists.listAt(lists.add(head, row));
  let seen = 0;
  expect(lists.visit(head, () => ++seen < 20)).toBe(false);
  expect(seen).toBe(20);
});
