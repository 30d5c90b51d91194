/** Files as DuckDB and hyparquet read them: what was put in, to the bit; and notes in footers. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zstdDecompressSync } from "node:zlib";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import fc from "fast-check";
import { latLngToCell } from "h3-js";
import { parquetReadObjects } from "hyparquet";
import { afterAll, beforeAll, expect, test } from "vitest";
import { HeldRows } from "../../../src/sinks/held-rows.ts";
import { noteOf, ParquetWriter } from "../../../src/sinks/parquet-writer.ts";
import { murmur2 } from "../../../src/partitions/murmur2.ts";
import { PingRow } from "../../../src/sinks/ping-row.ts";
import type { RowBlock } from "../../../src/sinks/row-block.ts";

type Row = {
  ts: number;
  received: number;
  offset: number;
  lat: number;
  lon: number;
  numbers: (number | null)[];
  id: string;
  trip: string | null;
  extra: string | null;
};

const note = { topicId: "t", group: "g 'é'", start: 5, end: 2 ** 53 - 1 };
const place = { topic: "positions", topicId: "t", partition: 3 };
const names = ["speed", "heading", "accuracy", "altitude", "battery"] as const;
const writer = new ParquetWriter();
const free: RowBlock[] = [];
let dir: string;
let duckDB: DuckDBConnection;
let files = 0;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "milepost-parquet-file-"));
  duckDB = await (await DuckDBInstance.create()).connect();
});
afterAll(() => {
  duckDB?.closeSync();
  rmSync(dir, { recursive: true, force: true });
});

/** A row as a ping is read: its texts somewhere within bytes. */
function hold(held: HeldRows, row: Row): void {
  const ping = new PingRow();
  const put = (text: string): [Uint8Array, number, number] => {
    const bytes = Buffer.from(`<${text}>`);
    return [bytes, 1, bytes.byteLength - 1];
  };
  Object.assign(ping, { ts: row.ts, received: row.received, lat: row.lat, lon: row.lon });
  for (const [i, name] of names.entries()) ping[name] = row.numbers[i] ?? NaN;
  [ping.id, ping.idStart, ping.idEnd] = put(row.id);
  if (row.trip !== null) [ping.trip, ping.tripStart, ping.tripEnd] = put(row.trip);
  [ping.extra, ping.extraStart, ping.extraEnd] = put(row.extra ?? "");
  held.put(ping, row.offset);
}

async function fileOf(rows: Row[]): Promise<string> {
  const held = new HeldRows(free);
  for (const row of rows) hold(held, row);
  const file = join(dir, `${++files}.parquet`);
  await writer.write(file, place, held, note);
  held.release();
  return file;
}

/** As it is to be read: a driver's rows together. */
function expected(rows: Row[]): unknown[][] {
  const order = rows.toSorted(
    (a, b) => Buffer.from(a.id).compare(Buffer.from(b.id)) || a.offset - b.offset,
  );
  return order.map((row) => [
    BigInt(Math.floor(row.ts * 1000)),
    row.id,
    row.lat,
    row.lon,
    ...row.numbers.map((number) => (number === null ? null : Math.fround(number))),
    row.trip,
    BigInt(`0x${latLngToCell(row.lat, row.lon, 9)}`),
    row.extra === null ? null : `{${row.extra}}`,
    BigInt(Math.floor(row.received * 1000)),
    place.topic,
    place.partition,
    BigInt(row.offset),
  ]);
}

async function query(sql: string): Promise<unknown[][]> {
  return (await duckDB.runAndReadAll(sql)).getRows();
}

const byDuckDB = (file: string): Promise<unknown[][]> =>
  query(
    "SELECT * REPLACE (epoch_us(ts) AS ts, epoch_us(received_at) AS received_at) " +
      `FROM '${file}'`,
  );

async function byHyparquet(file: string): Promise<unknown[][]> {
  const bytes = readFileSync(file);
  const objects = await parquetReadObjects({
    file: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
    compressors: { ZSTD: (input) => zstdDecompressSync(input) },
    parsers: { timestampFromMicroseconds: (micros: bigint) => micros } as never,
  });
  return objects.map((object) => Object.values(object));
}

const rounded = fc.integer({ min: -500, max: 500 }).map((n) => n / 10);
const float = fc.float({ noNaN: true, noDefaultInfinity: true });
const timeMs = fc.oneof(
  fc.integer({ min: 1_700_000_000_000, max: 1_700_000_100_000 }),
  fc.constantFrom(0, -1, 0.5, -0.5, 1_700_000_000_000.125, 5e12, -210_866_803_200_000),
);
const farMs = fc.constantFrom(9_223_372_036_852_000, -62_135_596_800_000, 1_700_000_000_000);
const texts = fc.oneof(
  fc.constantFrom("", "t-1", "t-2", "🚕 é", "x".repeat(3000), "y".repeat(257)),
  fc.string({ unit: "grapheme" }),
);
const column = <T>(values: fc.Arbitrary<T>) => fc.oneof(values, fc.constant(null));

const rowsOf = (times: fc.Arbitrary<number>, numbers: fc.Arbitrary<number | null>) =>
  fc
    .array(
      fc.record({
        ts: times,
        received: times,
        offset: fc.integer({ min: 1, max: 2 ** 40 }),
        lat: fc.double({ min: -90, max: 90, noNaN: true }),
        lon: fc.oneof(
          fc.constantFrom(0, -0, 77.5),
          fc.double({ min: -180, max: 180, noNaN: true }),
        ),
        numbers: fc.tuple(column(rounded), numbers, float, fc.constant(null), column(float)),
        id: fc.oneof(
          fc.constantFrom("a", "ab", "b"),
          fc.string({ unit: "grapheme", minLength: 1 }),
        ),
        trip: column(texts),
        extra: column(texts.filter((text) => text !== "")),
      }),
      { minLength: 1, maxLength: 80, size: "max" },
    )
    .map((rows) => rows.map((row, i) => ({ ...row, offset: row.offset + i * 2 ** 41 })));

test("rows of any kind are read as they were, by two readers", async () => {
  const rows = fc.oneof(
    rowsOf(timeMs, float),
    rowsOf(timeMs, fc.constant(null)),
    rowsOf(farMs, column(fc.constantFrom(0, -0, 1e-45, -3.4e38))),
  );
  await fc.assert(
    fc.asyncProperty(rows, async (some) => {
      const file = await fileOf(some);
      const wanted = expected(some);
      expect(await byDuckDB(file)).toEqual(wanted);
      expect(await byHyparquet(file)).toEqual(wanted);
      expect(await noteOf(file)).toEqual(note);
    }),
    { numRuns: 60 },
  );
}, 60_000);

/** The first row that differs. */
function firstOther(rows: unknown[][], wanted: unknown[][]): number {
  if (rows.length !== wanted.length) return rows.length;
  return rows.findIndex((row, i) => row.some((value, k) => !Object.is(value, wanted[i][k])));
}

/** `count` rows of `drivers`, with numbers in between. */
function many(count: number, drivers: number): Row[] {
  return Array.from({ length: count }, (_, i) => ({
    ts: 1_700_000_000_000 + i * 7 + (i % 3),
    received: 1_700_000_000_500 + i * 7,
    offset: 10 + i,
    lat: 12 + Math.sin(i) / 10,
    lon: 77 + Math.cos(i) / 10,
    numbers: [i % 7 === 0 ? null : (i % 300) / 10, i % 360, Math.fround(Math.sin(i)), i, null],
    id: `driver ${(i * 7919) % drivers}`,
    trip: i % 5 === 0 ? null : `trip ${i % 1000}`,
    extra: i % 11 === 0 ? null : `"seq":${i}`,
  }));
}

test("more rows and drivers than 16 bits count", async () => {
  const rows = many(70_000, 70_000);
  const file = await fileOf(rows);
  const wanted = expected(rows);
  expect(firstOther(await byDuckDB(file), wanted)).toBe(-1);
  expect(firstOther(await byHyparquet(file), wanted)).toBe(-1);
}, 60_000);

test("types and statistics, as DuckDB sees them", async () => {
  const file = await fileOf(many(5000, 40));
  const types = await query(`SELECT column_name, column_type FROM (DESCRIBE FROM '${file}')`);
  expect(types.map(([name, type]) => `${String(name)} ${String(type)}`)).toEqual([
    "ts TIMESTAMP WITH TIME ZONE",
    "id VARCHAR",
    "lat DOUBLE",
    "lon DOUBLE",
    ...names.map((name) => `${name} FLOAT`),
    "trip VARCHAR",
    "h3 UBIGINT",
    "extra VARCHAR",
    "received_at TIMESTAMP WITH TIME ZONE",
    "k_topic VARCHAR",
    "k_partition INTEGER",
    "k_offset BIGINT",
  ]);
  const known = await query(
    "SELECT path_in_schema, stats_min_value, stats_max_value, stats_null_count " +
      `FROM parquet_metadata('${file}')`,
  );
  for (const [i, [name, min, max, nulls]] of known.entries()) {
    const own = name === "extra" ? "NULL" : String(name);
    const is = (of: string, parameter: string): string =>
      `${of}(${own}) IS NOT DISTINCT FROM ${parameter}::VARCHAR::${String(types[i][1])}`;
    const sql =
      `SELECT ${is("min", "$1")}, ${is("max", "$2")}, count(*) - count(${String(name)}) ` +
      `FROM '${file}'`;
    const found = (await duckDB.runAndReadAll(sql, [min as string, max as string])).getRows();
    expect([name, ...found[0]]).toEqual([name, true, true, nulls]);
  }
});

test("a file that cannot have what is asked for is not read", async () => {
  const file = await fileOf(many(5000, 40));
  const bytes = readFileSync(file);
  writeFileSync(file, bytes.fill(0xff, 4, bytes.byteLength - 8000));
  for (const where of ["id = 'zz'", "k_offset < 10", "lat > 80", "ts < '2001-01-01'"]) {
    expect(await query(`SELECT count(lon) FROM '${file}' WHERE ${where}`)).toEqual([[0n]]);
  }
  await expect(query(`SELECT count(lon) FROM '${file}' WHERE lat > 12`)).rejects.toThrow();
});

test("a file of no rows has its note and its columns", async () => {
  const file = await fileOf([]);
  expect(await noteOf(file)).toEqual(note);
  expect(await query(`SELECT count(*), max(k_offset) FROM '${file}'`)).toEqual([[0n, null]]);
});

test("texts that were chosen to collide are written as they are", async () => {
  const same: string[] = [];
  for (let n = 0; same.length < 100; n++) {
    const bytes = Buffer.from(`d${n}`);
    if ((murmur2(bytes, 0, bytes.byteLength) & 0x3fff) === 0) same.push(`d${n}`);
  }
  const rows = many(1000, 1).map((row, i) => {
    return { ...row, id: same[(i * 7919) % 100], trip: same[(i * 104_729) % 99] };
  });
  expect(await byDuckDB(await fileOf(rows))).toEqual(expected(rows));
});

test("the memory of held rows is known, and is used again", () => {
  const blocks: RowBlock[] = [];
  const held = new HeldRows(blocks);
  for (const row of many(5000, 40)) hold(held, row);
  expect([held.count, held.blocks.length]).toEqual([5000, 3]);
  const { bytes } = held.trips;
  expect(held.heldBytes).toBeGreaterThan(3 * held.blocks[0].heldBytes + bytes.byteLength);
  expect(held.heldBytes).toBeLessThan(1.2 * 3 * held.blocks[0].heldBytes + bytes.byteLength);
  held.release();
  expect(blocks.length).toBe(3);
  const next = new HeldRows(blocks);
  hold(next, many(1, 1)[0]);
  expect([blocks.length, next.count]).toEqual([2, 1]);
});

test("files that DuckDB wrote have their notes read; what is none of ours is refused", async () => {
  const file = join(dir, "old.parquet");
  const pairs = "topicId: 't', 'group': 'g ''é''', start: '5', 'end': '9007199254740991'";
  await query(
    `COPY (SELECT 1 AS x) TO '${file}' (FORMAT parquet, COMPRESSION zstd, ` +
      `PARQUET_VERSION V2, KV_METADATA {${pairs}})`,
  );
  expect(await noteOf(file)).toEqual(note);
  const refused = "is not what a sink has written: move it out of the way";
  await query(`COPY (SELECT 1 AS x) TO '${file}' (FORMAT parquet)`);
  await expect(noteOf(file)).rejects.toThrow(refused);
  const tail = (length: number): Buffer => {
    const bytes = Buffer.from("0000PAR1");
    bytes.writeUInt32LE(length);
    return bytes;
  };
  const whole = readFileSync(await fileOf(many(10, 2)));
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from("PAR1"),
    tail(0),
    tail(2 ** 32 - 1),
    Buffer.concat([whole.subarray(0, -8), tail(whole.byteLength)]),
    whole.subarray(0, -1),
  ]) {
    writeFileSync(file, bytes);
    await expect(noteOf(file)).rejects.toThrow(refused);
  }
  await expect(noteOf(join(dir, "none"))).rejects.toThrow("ENOENT");
  const flips = fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(flips, async (all) => {
      const bytes = Buffer.from(whole);
      for (const [back, byte] of all) bytes[bytes.byteLength - 9 - back] ^= byte;
      writeFileSync(file, bytes);
      const found = await noteOf(file).catch((error: Error) => error.message);
      if (typeof found === "string") expect(found).toContain(refused);
    }),
    { numRuns: 300 },
  );
});
