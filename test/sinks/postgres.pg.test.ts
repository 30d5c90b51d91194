import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { postgres } from "../../src/sinks/postgres.ts";
import type { DeadLetter, Slice } from "../../src/sinks/target.ts";
import { Transactional } from "../../src/sinks/transactional.ts";
import { missing } from "../setup/parts.ts";
import { PostgresServer } from "./postgres-server.ts";
import {
  noLetters,
  type Ping,
  pingOf,
  receivedMs,
  sliceOf,
  taken,
  topicId,
  fullPing,
  writtenOne,
} from "./slices.ts";

describe.skipIf(missing("postgresql"))("PostgreSQL as a target", () => {
  let server: PostgresServer;
  let database = "";
  let tests = 0;
  const targets: Transactional<Buffer>[] = [];

  beforeAll(async () => {
    server = await new PostgresServer().start();
  }, 60_000);
  beforeEach(async () => {
    database = `t${++tests}`;
    await server.database(database);
  });
  afterAll(async () => {
    for (const target of targets) await target.close();
    await server?.stop();
    server?.discard();
  });

  function target(more: { createSchema?: boolean; everyMs?: number; url?: string } = {}) {
    const { createSchema = true, everyMs = null, url = server.urlOf(database) } = more;
    const made = new Transactional(postgres(url), { sink: "test", createSchema, everyMs });
    targets.push(made);
    return made;
  }

  const select = (sql: string) => server.query<Record<string, any>>(sql, [], database);
  const offsetsOf = async (): Promise<number[]> =>
    (await select("SELECT k_offset FROM positions ORDER BY k_offset")).map((r) => +r.k_offset);

  const writeOne = (slice: Slice, to = target()) => writtenOne(to, slice);

  test("a ping's fields are its row's columns, the rest is in extra", async () => {
    const flagged = { ...pingOf(2), speed: "fast", flags: ["jump"], trip: "ü" };
    await writeOne(
      sliceOf(3, 0, [fullPing, { id: "d2", ts: receivedMs, lat: 0, lon: 0 }, flagged]),
    );
    const rows = await select("SELECT * FROM positions ORDER BY k_offset");
    expect(rows).toMatchObject([
      {
        ts: new Date(receivedMs + 7),
        id: "d1",
        lat: -12.5,
        lon: 77.25,
        speed: 3.5,
        heading: 90,
        accuracy: 4,
        altitude: -7.5,
        battery: 0.25,
        trip: "t-1",
        extra: { seq: 9, fuel: "low" },
        received_at: new Date(receivedMs),
        k_topic: "positions",
        k_partition: 3,
        k_offset: "0",
      },
      { id: "d2", speed: null, trip: null, extra: null, k_offset: "1" },
      { id: "d2", speed: null, trip: "ü", extra: { seq: 2, speed: "fast", flags: ["jump"] } },
    ]);
    // h3-js: latLngToCell(-12.5, 77.25, 9)
    const { latLngToCell } = await import("h3-js");
    expect(BigInt(rows[0].h3)).toBe(BigInt(`0x${latLngToCell(-12.5, 77.25, 9)}`));
  });

  test("what is written is what PostgreSQL reads from the same text", async () => {
    const to = target();
    await to.open([taken(0)]);
    let next = 0;
    const decimal = (low: number, high: number) =>
      fc.oneof(
        // PostgreSQL refuses text that a float4 has no digits for
        fc.double({ min: low, max: high, noNaN: true }).map((x) => (Math.abs(x) < 1e-30 ? 0 : x)),
        fc.integer({ min: low, max: high }),
        fc.integer({ min: low * 100, max: high * 100 }).map((n) => n / 100),
      );
    const ping = fc.record(
      {
        id: fc.stringMatching(/^[a-zA-Z0-9 _.:'"\\;-]{1,40}$/),
        ts: fc.integer({ min: -60_000_000_000_000, max: 250_000_000_000_000 }),
        lat: decimal(-90, 90),
        lon: decimal(-180, 180),
        speed: decimal(0, 150),
        heading: decimal(0, 359),
        accuracy: decimal(0, 100_000),
        altitude: decimal(-500, 20_000),
        battery: decimal(0, 1),
        trip: fc.string({ unit: "grapheme", maxLength: 20 }),
        seq: fc.nat(),
        note: fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null)),
      },
      { requiredKeys: ["id", "ts", "lat", "lon"], noNullPrototype: true },
    );
    const noNul = (value: Ping) => !JSON.stringify(value).includes("\\u0000");
    const property = fc.asyncProperty(
      fc.array(ping.filter(noNul), { minLength: 1, maxLength: 50 }),
      async (pings) => {
        const slice = sliceOf(0, next, pings);
        next = slice.end;
        await to.write([slice], noLetters);
        const differing = await server.query(
          `SELECT v, p.* FROM jsonb_array_elements($1) WITH ORDINALITY AS j(v, n)
          LEFT JOIN positions p ON k_offset = $2::bigint + n - 1
          WHERE ROW(p.ts, p.id, lat, lon, speed, heading, accuracy, altitude, battery, trip)
          IS DISTINCT FROM ROW(
            'epoch'::timestamptz + (v->>'ts')::bigint / 1000 * interval '1 s'
              + (v->>'ts')::bigint % 1000 * interval '1 ms', v->>'id',
            (v->>'lat')::float8, (v->>'lon')::float8, (v->>'speed')::real, (v->>'heading')::real,
            (v->>'accuracy')::real, (v->>'altitude')::real, (v->>'battery')::real, v->>'trip')
          OR coalesce(extra, '{}') IS DISTINCT FROM v - array['id', 'ts', 'lat', 'lon', 'speed',
            'heading', 'accuracy', 'altitude', 'battery', 'trip']`,
          [JSON.stringify(pings), slice.start],
          database,
        );
        expect(differing).toEqual([]);
      },
    );
    await fc.assert(property, { numRuns: 60 });
  }, 120_000);

  test("what cannot be a row is a dead letter with its reason, the others are rows", async () => {
    const bad: [Ping | string | null, RegExp][] = [
      [null, /^bad_json: no value/],
      ["not json", /^bad_json/],
      [pingOf(1, { id: "a/b" }), /^bad_id/],
      [pingOf(1, { lat: 91 }), /^bad_position/],
      ['{"id":"d1","ts":292277026596000000,"lat":1,"lon":2}', /^bad_time/],
      ['{"id":"d1","ts":9223372036854775807,"lat":1,"lon":2}', /^bad_time/],
      [pingOf(1, { speed: 1e39 }), /^speed: number out of range/],
      [pingOf(1, { trip: "a\0b" }), /^trip: a NUL byte/],
      [pingOf(1, { note: { deep: ["\0"] } }), /^extra: a NUL byte/],
      [pingOf(1, { note: "x".repeat(9000) }), /^too_large/],
      // what only the database knows
      ['{"id":"d1","ts":1795250000000,"lat":1,"lon":2,"n":1e200000}', /^database 22003/],
    ];
    const good = Array.from({ length: 40 }, (_, i) => pingOf(i));
    const mixed = good.flatMap((ping, i) => (i < bad.length ? [bad[i][0], ping] : [ping]));
    const letters = await writeOne(sliceOf(0, 0, mixed));
    expect(letters.map(({ offset }) => offset).sort((a, b) => a - b)).toEqual(
      bad.map((_, i) => i * 2),
    );
    for (const { offset, reason } of letters) expect(reason).toMatch(bad[offset / 2][1]);
    expect(await offsetsOf()).toHaveLength(good.length);
    const [{ next_offset: next }] = await select("SELECT next_offset FROM milepost_offsets");
    expect(Number(next)).toBe(mixed.length);
  });

  test("a constraint of the table's own leaves out its rows only", async () => {
    await writeOne(sliceOf(0, 0, [pingOf(0)]));
    await select("ALTER TABLE positions ADD CONSTRAINT no_d3 CHECK (id <> 'd3')");
    const to = target();
    await to.open([taken(0)]);
    const letters: DeadLetter[] = [];
    const pings = Array.from({ length: 200 }, (_, i) => pingOf(i + 1));
    await to.write([sliceOf(0, 1, pings)], async (more) => void letters.push(...more));
    const d3 = pings.flatMap(({ id }, i) => (id === "d3" ? [i + 1] : []));
    expect(letters.map(({ offset }) => offset)).toEqual(d3);
    expect(letters[0].reason).toMatch(/^database 23514: .*no_d3/);
    expect(await offsetsOf()).toHaveLength(201 - d3.length);
  });

  test("a key of the table's own leaves out the second row, also of the same batch", async () => {
    await target().open([taken(0)]);
    await select("CREATE UNIQUE INDEX one_each ON positions (id, ts)");
    const pings = [0, 1, 7, 2, 3].map((seq) => pingOf(seq, { ts: receivedMs }));
    const letters = await writeOne(sliceOf(0, 0, pings));
    expect(letters).toMatchObject([
      { offset: 2, reason: expect.stringMatching(/23505: duplicate key/) },
    ]);
    expect(await offsetsOf()).toEqual([0, 1, 3, 4]);
  });

  test("SQL in ids stays data", async () => {
    const id = "'); DROP TABLE positions; --";
    await writeOne(sliceOf(0, 0, [pingOf(0, { id }), pingOf(1, { trip: "\\N\t\n\\." })]));
    expect(await select("SELECT id, trip FROM positions ORDER BY k_offset")).toEqual([
      { id, trip: null },
      { id: "d1", trip: "\\N\t\n\\." },
    ]);
  });

  test("whatever day comes has its partition", async () => {
    const days = [
      "1969-07-20",
      "2019-12-31",
      "2020-01-01",
      "2021-02-28",
      "2099-12-31",
      "9999-01-01",
    ];
    const pings = days.map((day, i) => pingOf(i, { ts: Date.parse(day) }));
    const ahead = new Date().toISOString().slice(0, 10).replaceAll("-", "");
    await writeOne(sliceOf(0, 0, pings));
    const rows = await select("SELECT tableoid::regclass::text AS t FROM positions ORDER BY ts");
    expect(rows.map(({ t }) => t)).toEqual([
      "positions_before_2020",
      "positions_before_2020",
      "positions_20200101",
      "positions_20210228",
      "positions_20991231",
      "positions_after_2099",
    ]);
    const made = await select(`SELECT to_regclass('positions_${ahead}') AS t`);
    expect(made).toEqual([{ t: `positions_${ahead}` }]);
  });

  test("two workers that need the same days make them once", async () => {
    const pings = Array.from({ length: 20 }, (_, i) => pingOf(i, { ts: Date.UTC(2022, 0, 1 + i) }));
    await Promise.all([0, 1, 2].map((p) => writeOne(sliceOf(p, 0, pings))));
    expect(await select("SELECT count(*)::int AS n FROM positions")).toEqual([{ n: 60 }]);
  });

  test("of two workers the later one has the partition", async () => {
    const [old, young] = [target(), target()];
    await old.open([taken(0), taken(1)]);
    await old.write([sliceOf(0, 0, [pingOf(0)]), sliceOf(1, 0, [pingOf(0)])], noLetters);
    expect(await young.open([taken(1)])).toMatchObject([{ partition: 1, next: 1 }]);
    const both = [sliceOf(0, 1, [pingOf(1)]), sliceOf(1, 1, [pingOf(1)])];
    const { lost } = await old.write(both, noLetters);
    expect(lost).toMatchObject([{ partition: 1 }]);
    // nothing of it went in, and what is still its own can be written
    expect(await offsetsOf()).toEqual([0, 0]);
    await old.write([both[0]], noLetters);
    await young.write([both[1]], noLetters);
    expect(await offsetsOf()).toEqual([0, 0, 1, 1]);
  });

  test("another topic of the same name is not written on top", async () => {
    await writeOne(sliceOf(0, 0, [pingOf(0)]));
    const anew = { ...taken(0), topicId: topicId.replace("0", "1") };
    await expect(target().open([anew])).rejects.toThrow(/DELETE FROM milepost_offsets WHERE/);
  });

  test("columns of the table's own are filled by name", async () => {
    await target().open([taken(0)]);
    await select(
      `ALTER TABLE positions ADD COLUMN seq bigint, ADD COLUMN fuel real, ADD COLUMN door boolean,
      ADD COLUMN "Driver's name" text, ADD COLUMN at timestamptz DEFAULT 'epoch'`,
    );
    await writeOne(
      sliceOf(0, 0, [
        pingOf(5, { fuel: 0.5, door: true, "Driver's name": "Ann", other: 1 }),
        pingOf(6, { fuel: "low" }),
        { id: "d1", ts: receivedMs, lat: 1, lon: 2 },
      ]),
    );
    const sql = `SELECT seq, fuel, door, "Driver's name" AS name, extra FROM positions`;
    expect(await select(`${sql} ORDER BY k_offset`)).toEqual([
      { seq: "5", fuel: 0.5, door: true, name: "Ann", extra: { other: 1 } },
      { seq: "6", fuel: null, door: null, name: null, extra: { fuel: "low" } },
      { seq: null, fuel: null, door: null, name: null, extra: null },
    ]);
  });

  test("one row a driver and interval, also across a restart", async () => {
    const at = (seconds: number, id = "d1") => pingOf(0, { id, ts: receivedMs + seconds * 1000 });
    const first = [at(0), at(3), at(9.9), at(10), at(1, "d2"), at(12), at(25), at(4)];
    const to = target({ everyMs: 10_000 });
    await to.open([taken(0)]);
    await to.write([sliceOf(0, 0, first)], noLetters);
    expect(await offsetsOf()).toEqual([0, 3, 4, 6]);
    const again = target({ everyMs: 10_000 });
    expect(await again.open([taken(0)])).toMatchObject([{ next: first.length }]);
    await again.write([sliceOf(0, first.length, [at(26), at(5), at(30), at(8, "d2")])], noLetters);
    expect(await offsetsOf()).toEqual([0, 3, 4, 6, 10]);
  });

  describe("what trying again cannot help is said", () => {
    test("tables that are not there", async () => {
      const opened = target({ createSchema: false }).open([taken(0)]);
      await expect(opened).rejects.toThrow(/there is no table positions: .*--create-schema/);
    });

    test("a column that is not there, or of another type", async () => {
      await target().open([taken(0)]);
      await select("ALTER TABLE positions DROP COLUMN battery");
      await expect(target().open([taken(0)])).rejects.toThrow(/ADD COLUMN battery float4/);
      await select("ALTER TABLE positions ADD COLUMN battery text");
      await expect(target().open([taken(0)])).rejects.toThrow(/battery .* is text, not float4/);
    });

    test("a wrong password, user or database", async () => {
      const open = (url: string) => target({ url }).open([taken(0)]);
      await expect(open(server.urlOf(database, "postgres", "no"))).rejects.toThrow(/password/);
      await expect(open(server.urlOf("nowhere"))).rejects.toThrow(/createdb/);
    });

    test("rights", async () => {
      await target().open([taken(0)]);
      await select(`CREATE ROLE reader${tests} LOGIN PASSWORD 'secret'`);
      await select(`GRANT SELECT ON positions TO reader${tests}`);
      const url = server.urlOf(database, `reader${tests}`);
      await expect(target({ url, createSchema: false }).open([taken(0)])).rejects.toThrow(/GRANT/);
    });
  });
});
