import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ANY_KEY, keyedBases, keyHash, KeyIndexWriter } from "../../src/log/key-index.ts";
import { KeyPostings } from "../../src/log/key-postings.ts";

type File = Map<string, Uint8Array>;
const hex = (key: Uint8Array): string => Buffer.from(key).toString("hex");

/** What the writer makes of hash → base offsets, by key. */
function write(partition: number, origin: number, lists: Map<number, number[]>): File {
  const writer = new KeyIndexWriter(partition, origin);
  const file: File = new Map();
  for (const hash of [...lists.keys()].sort((a, b) => a - b)) {
    for (const base of lists.get(hash) ?? []) {
      const chunk = writer.add(hash, base);
      if (chunk !== null) file.set(hex(chunk[0]), chunk[1]);
    }
  }
  for (const [key, value] of writer.end()) file.set(hex(key), value);
  return file;
}

const from = (file: File) => (key: Uint8Array) => file.get(hex(key));

/** Ascending, each a step above the one before; steps beyond 32 bits are among them. */
const bases = fc
  .array(fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 2 ** 40 })), {
    minLength: 1,
    maxLength: 200,
  })
  .map((steps) => {
    let at = 999;
    return steps.map((step) => (at += step));
  });
const hash = fc.oneof(fc.constant(ANY_KEY), fc.integer({ min: 1, max: 2 ** 32 - 1 }));

describe("the index in a file", () => {
  test("gives back what was put in, in a range, and what may hold any key", () => {
    const lists = fc.array(fc.tuple(hash, bases), { maxLength: 300 });
    fc.assert(
      fc.property(lists, fc.nat(2 ** 30), fc.nat(2 ** 42), (entries, low, high) => {
        const model = new Map(entries);
        const file = write(3, 1000, model);
        for (const wanted of [...model.keys(), 77]) {
          const all = [...(model.get(ANY_KEY) ?? []), ...(model.get(wanted) ?? [])];
          const inRange = all.filter((base) => base > low && base < high);
          const found = keyedBases(from(file), 3, wanted, low, high) ?? [];
          expect(found).toEqual([...new Set(found)].sort((a, b) => a - b));
          expect(found.filter((base) => base > low)).toEqual(
            [...new Set(inRange)].sort((a, b) => a - b),
          );
          // what begins before may reach into the range: the last of each list
          for (const key of [ANY_KEY, wanted]) {
            const before = (model.get(key) ?? []).filter((base) => base <= low && base < high);
            if (before.length > 0) expect(found).toContain(before.at(-1));
          }
        }
        expect(keyedBases(from(file), 4, 77, 0, Infinity)).toBeNull();
      }),
      { numRuns: 40 },
    );
  });

  test("many keys lie in chunks of 16 KB or so; a list is never cut", () => {
    const lists = new Map<number, number[]>();
    for (let i = 0; i < 20_000; i++) lists.set(i * 200_000 + 5, [i, i + 70]);
    lists.set(
      4,
      Array.from({ length: 50_000 }, (_, i) => i * 200),
    );
    const file = write(0, 0, lists);
    const sizes = [...file.values()].map((value) => value.byteLength).sort((a, b) => b - a);
    expect(sizes[0]).toBeGreaterThan(100_000);
    expect(sizes[1]).toBeLessThan(17_000);
    for (const [key, list] of lists) {
      if (key % 7 === 0) expect(keyedBases(from(file), 0, key, -1, Infinity)).toEqual(list);
    }
  });

  test("a bit flipped anywhere: nothing is said about the keys it concerns, never less", () => {
    const lists = new Map<number, number[]>([[ANY_KEY, [5000]]]);
    for (let i = 1; i < 3000; i++) lists.set(i * 1_000_000, [1000 + i, 3000 + 2 * i]);
    const whole = write(0, 1000, lists);
    let told = 0;
    for (const [key, value] of whole) {
      for (let at = 0; at < value.byteLength; at += 997) {
        const damaged = new Map(whole);
        damaged.set(key, value.slice());
        (damaged.get(key) as Uint8Array)[at] ^= 1 << (at % 8);
        for (let i = 1; i < 3000; i += 250) {
          const found = keyedBases(from(damaged), 0, i * 1_000_000, 0, Infinity);
          if (found === null) told++;
          else expect(found).toEqual([1000 + i, 3000 + 2 * i, 5000].sort((a, b) => a - b));
        }
      }
      const without = new Map(whole);
      without.delete(key);
      const found = keyedBases(from(without), 0, 1_000_000, 0, Infinity);
      if (found !== null) expect(found).toEqual([1001, 3002, 5000]);
    }
    expect(told).toBeGreaterThan(100);
  });
});

describe("the index in memory", () => {
  test("finds every row of a key, and sorts by key and row", () => {
    const pairs = fc.array(fc.tuple(fc.nat(6), fc.nat(3)), { minLength: 1, maxLength: 4000 });
    fc.assert(
      fc.property(pairs, fc.nat(5000), (steps, begin) => {
        const postings = new KeyPostings();
        const model: [hash: number, row: number][] = [];
        let row = 0;
        for (const [key, step] of steps) {
          row += step;
          postings.add(key, row);
          model.push([key, row]);
        }
        postings.rows = row + 1;
        const any = model.filter(([key]) => key === ANY_KEY).map(([, r]) => r);
        for (let key = 1; key < 7; key++) {
          const own = model.filter(([k]) => k === key).map(([, r]) => r);
          const wanted = [...new Set([...own, ...any])].filter((r) => r >= begin);
          const found = postings.find(key, begin).rows;
          expect(found).toEqual(wanted.sort((a, b) => a - b));
        }
        const sorting = postings.sorted();
        let sorted = sorting.next();
        while (sorted.done !== true) sorted = sorting.next();
        const { hashes, rows } = sorted.value;
        const inOrder = model.toSorted(([a, r], [b, s]) => a - b || r - s);
        expect([...hashes].map((h, i) => [h, rows[i]])).toEqual(inOrder);
      }),
      { numRuns: 60 },
    );
  });

  test("a look-up is bounded, and the next goes on where it ended", () => {
    const postings = new KeyPostings();
    // every fifth row has more keys than one look-up goes through
    for (let row = 0; row < 20; row++) {
      for (let n = 0; n < (row % 5 === 0 ? 300_000 : 50_000); n++) postings.add(2 + (n % 9), row);
      if (row % 3 === 0) postings.add(1, row);
    }
    for (let row = 20; row < 9000; row++) postings.add(1, row);
    postings.rows = 9000;
    const found: number[] = [];
    let most = 0;
    let looks = 0;
    for (let at = 0; at < postings.rows; looks++) {
      const { rows, to } = postings.find(1, at);
      expect(to).toBeGreaterThan(at);
      found.push(...rows);
      most = Math.max(most, rows.length);
      at = to;
    }
    const wanted = Array.from({ length: 9000 }, (_, row) => row);
    expect(found).toEqual(wanted.filter((row) => row >= 20 || row % 3 === 0));
    expect(most).toBeLessThanOrEqual(2048);
    expect(looks).toBeGreaterThan(9);
  });

  test("sorts hashes of all 32 bits, more than fit between two pauses", () => {
    const postings = new KeyPostings();
    for (let row = 0; row < 300_000; row++) postings.add(Math.imul(row, 2654435761) >>> 0, row);
    const sorting = postings.sorted();
    let pauses = 0;
    let sorted = sorting.next();
    for (; sorted.done !== true; sorted = sorting.next()) pauses++;
    const { hashes, rows } = sorted.value;
    expect(pauses).toBeGreaterThan(4);
    for (let i = 0; i < hashes.length; i++) {
      if (i > 0 && hashes[i] < hashes[i - 1]) expect.fail(`${i} is out of order`);
      if (hashes[i] !== Math.imul(rows[i], 2654435761) >>> 0) expect.fail(`${i} lost its row`);
    }
  });
});

test("a key's hash is its own for good, and never the one of batches of any key", () => {
  const of = (text: string): number => keyHash(Buffer.from(text), 0, Buffer.byteLength(text));
  // in files: another value would be another format
  expect([of(""), of("driver-1"), of("Fahrer/ä")]).toMatchInlineSnapshot(`
    [
      447806413,
      4099639635,
      3599746938,
    ]
  `);
  expect(keyHash(Buffer.from("..driver-1.."), 2, 10)).toBe(of("driver-1"));
  const hashes = new Set(Array.from({ length: 100_000 }, (_, i) => of(`drv-${i}`)));
  expect(hashes.has(ANY_KEY)).toBe(false);
  expect(hashes.size).toBeGreaterThan(99_990);
});
