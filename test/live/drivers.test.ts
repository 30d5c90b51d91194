import fc from "fast-check";
import { expect, test } from "vitest";
import { Arena } from "../../src/live/arena.ts";
import { DriverTable, NO_ROW } from "../../src/live/drivers.ts";
import { bytesOf, livePing, type TestPing } from "./fixture.ts";

const id = fc.oneof(
  { weight: 9, arbitrary: fc.nat(60).map((n) => `d${n}`) },
  { weight: 1, arbitrary: fc.constantFrom('quo"te', "back\\slash", "ключ", "x".repeat(128)) },
);
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("ping" as const),
      id,
      ts: fc.nat(1_000_000),
      lat: fc.double({ min: -90, max: 90, noNaN: true }),
      lon: fc.double({ min: -180, max: 180, noNaN: true }),
      note: fc.option(fc.string({ maxLength: 200 }), { nil: undefined }),
      trip: fc.option(fc.string({ maxLength: 20 }), { nil: undefined }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("remove" as const), id }) },
);

test("any history: the table is a map from driver to ping", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const table = new DriverTable();
      const model = new Map<string, unknown>();
      let offset = 0;
      for (const s of steps) {
        const key = bytesOf(s.id);
        let row = table.find(key, 0, key.byteLength);
        expect(row !== NO_ROW).toBe(model.has(s.id));
        if (s.kind === "ping") {
          const { kind: _, ...sent } = s;
          const ping = JSON.parse(JSON.stringify(sent)) as TestPing;
          if (row === NO_ROW) row = table.add(key, 0, key.byteLength);
          table.keep(row, livePing(ping, 5, offset++), 3);
          model.set(s.id, ping);
        } else if (row !== NO_ROW) {
          table.remove(row);
          model.delete(s.id);
        }
        expect(table.count).toBe(model.size);
      }
      for (const [driver, ping] of model) {
        const row = table.findId(driver);
        expect(table.id(row)).toBe(driver);
        expect(JSON.parse(`${table.json(row)}}`)).toEqual(ping);
        const entry = Buffer.alloc(2000);
        const end = table.copyEntry(row, entry, 7);
        expect(end).toBe(7 + table.idBytes[row] + table.restBytes[row]);
        expect(entry.toString("utf8", 7, 7 + table.idBytes[row])).toBe(driver);
      }
      const used = Array.from({ length: table.rows }, (_, row) => table.isUsed(row));
      expect(used.filter(Boolean).length).toBe(model.size);
    }),
  );
});

test("it grows, and finds everybody; whoever is removed makes room for others", () => {
  const table = new DriverTable();
  const keys = Array.from({ length: 20_000 }, (_, i) => bytesOf(`driver-${i}`));
  for (const [i, key] of keys.entries()) {
    const row = table.add(key, 0, key.byteLength);
    table.keep(row, livePing({ id: `driver-${i}`, ts: i, lat: 1, lon: 2 }, i, i), i % 16);
  }
  for (let i = 0; i < keys.length; i += 2) table.remove(table.find(keys[i], 0, keys[i].length));
  const { capacity } = table;
  for (let i = 0; i < keys.length; i += 2) table.add(keys[i], 0, keys[i].byteLength);
  expect(table.capacity).toBe(capacity);
  expect(table.count).toBe(keys.length);
  for (let i = 1; i < keys.length; i += 2) {
    const row = table.find(keys[i], 0, keys[i].byteLength);
    expect([table.ts[row], table.partition[row]]).toEqual([i, i % 16]);
  }
});

test("drivers whose hashes are the same are told apart, whichever goes", () => {
  const [a, b] = sameHash();
  for (const gone of [a, b]) {
    const table = new DriverTable(1e9, FNV_BASIS);
    for (const key of [a, b]) table.add(key, 0, key.byteLength);
    expect(table.find(a, 0, a.byteLength)).not.toBe(table.find(b, 0, b.byteLength));
    table.remove(table.find(gone, 0, gone.byteLength));
    const left = gone === a ? b : a;
    expect(table.find(gone, 0, gone.byteLength)).toBe(NO_ROW);
    expect(table.find(left, 0, left.byteLength)).not.toBe(NO_ROW);
  }
});

const FNV_BASIS = 0x811c9dc5;

/** Two ids of the same FNV-1a hash, by birthday. */
function sameHash(): [Uint8Array, Uint8Array] {
  const seen = new Map<number, string>();
  for (let n = 0; ; n++) {
    const text = `drv-${n.toString(36)}`;
    let h = FNV_BASIS;
    for (const byte of bytesOf(text)) h = Math.imul(h ^ byte, 0x01000193);
    const other = seen.get(h);
    if (other !== undefined) return [bytesOf(other), bytesOf(text)];
    seen.set(h, text);
  }
}

test("beyond its memory, drivers are known by their positions alone", () => {
  const table = new DriverTable(4 * 1024 * 1024);
  const note = "n".repeat(4000);
  for (let i = 0; i < 2000; i++) {
    const key = bytesOf(`driver-${i}`);
    const row = table.add(key, 0, key.byteLength);
    table.keep(row, livePing({ id: `driver-${i}`, ts: i, lat: 1, lon: i / 100, note }, i, i), 0);
  }
  const first = JSON.parse(`${table.json(table.findId("driver-0"))}}`) as { note?: string };
  expect(first.note).toBe(note);
  const last = JSON.parse(`${table.json(table.findId("driver-1999"))}}`) as unknown;
  expect(last).toEqual({ id: "driver-1999", ts: 1999, lat: 1, lon: 19.99 });
});

test("an arena gives back what was written, wherever entries are taken and given back", () => {
  const size = fc.oneof(fc.nat(300), fc.integer({ min: 1_000_000, max: 3_000_000 }));
  fc.assert(
    fc.property(fc.array(fc.tuple(size, fc.nat(9)), { maxLength: 40 }), (takes) => {
      const arena = new Arena(64 * 1024 * 1024);
      const held: { entry: number; bytes: Uint8Array }[] = [];
      for (const [i, [bytes, giveBack]] of takes.entries()) {
        if (giveBack < 4 && held.length > 0) {
          const [gone] = held.splice(giveBack % held.length, 1);
          arena.giveBack(gone.entry, gone.bytes.byteLength);
        }
        const content = new Uint8Array(bytes).fill(i + 1);
        const entry = arena.take(bytes);
        arena.write(entry, 0, content, 0, bytes);
        held.push({ entry, bytes: content });
      }
      for (const { entry, bytes } of held) {
        expect(arena.isSame(entry, bytes, 0, bytes.byteLength)).toBe(true);
      }
    }),
    { numRuns: 30 },
  );
});
