import fc from "fast-check";
import { expect, test } from "vitest";
import { History } from "../../src/live/history.ts";

const publication = fc.record({
  row: fc.nat(5),
  size: fc.nat(40),
  skip: fc.nat(3),
  late: fc.boolean(),
  forget: fc.nat(40).map((n) => n === 0),
});

test("what it gives is what was added; complete only where nothing is missing", () => {
  fc.assert(
    fc.property(
      fc.array(publication, { maxLength: 120 }),
      fc.integer({ min: 64, max: 1500 }),
      fc.integer({ min: 1, max: 40 }),
      fc.array(fc.tuple(fc.nat(6), fc.nat(300), fc.integer({ min: 1, max: 20 }))),
      (added, bytes, entries, asked) => {
        const history = new History(bytes, entries);
        const model = new Map<number, { offset: number }[]>();
        let offset = 0;
        for (const { row, size, skip, late, forget } of added) {
          offset += 1 + skip;
          const value = Buffer.from(`  {"p":${offset},"x":"${"é".repeat(size / 2)}"} `);
          const [start, end] = [2, value.byteLength - 1];
          history.add(row, value, start, end, offset, offset * 2, late);
          const json = value.toString("utf8", start, end - 1);
          const of = model.get(row) ?? [];
          of.push({ offset, json, received: offset * 2, late } as { offset: number });
          model.set(row, of);
          if (forget) {
            history.forget(row);
            model.delete(row);
          }
        }
        for (const [row, from, max] of asked) {
          const { entries: got, complete } = history.since(row, from, max);
          const all = (model.get(row) ?? []).filter((e) => e.offset >= from);
          expect(got).toEqual(got.length === 0 ? [] : all.slice(-got.length));
          expect(got.length).toBeLessThanOrEqual(max);
          if (complete) expect(got).toEqual(all);
        }
        // the newest of all is always there
        const last = added.at(-1);
        if (last === undefined || last.forget) return;
        const { entries: newest } = history.since(last.row, offset, 1);
        expect(newest.map((e) => e.offset)).toEqual([offset]);
      },
    ),
    { numRuns: 500 },
  );
});

test("without overwriting everything is complete", () => {
  const history = new History(100_000);
  const value = Buffer.from('{"a":1}');
  for (let i = 0; i < 200; i++) history.add(i % 3, value, 0, value.byteLength, i, i, false);
  expect(history.since(0, 0, 1000)).toMatchObject({ complete: true });
  expect(history.since(0, 0, 1000).entries.length).toBe(67);
  expect(history.since(0, 100, 1000).complete).toBe(true);
  expect(history.since(0, 0, 10).complete).toBe(false);
  expect(history.since(9, 0, 10)).toEqual({ entries: [], complete: true });
});
