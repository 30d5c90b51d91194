import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { mysql } from "../../src/sinks/mysql.ts";
import type { Slice } from "../../src/sinks/target.ts";
import { Transactional } from "../../src/sinks/transactional.ts";
import { missing } from "../setup/parts.ts";
import { MariadbServer } from "./mariadb-server.ts";
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

describe.skipIf(missing("mariadb"))("MariaDB as a target", () => {
  let server: MariadbServer;
  let database = "";
  let tests = 0;
  let said: string[] = [];
  const targets: Transactional<Buffer>[] = [];

  beforeAll(async () => {
    server = await new MariadbServer().start();
  }, 60_000);
  beforeEach(async () => {
    database = `t${++tests}`;
    said = [];
    await server.database(database);
  });
  afterAll(async () => {
    for (const target of targets) await target.close();
    await server?.stop("SIGKILL");
    server?.discard();
  });

  function target(more: { createSchema?: boolean; everyMs?: number; url?: string } = {}) {
    const { createSchema = true, everyMs = null, url = server.urlOf(database) } = more;
    const say = (line: string): void => void said.push(line);
    const options = { sink: "test", createSchema, everyMs };
    const made = new Transactional(mysql(url, say), options);
    targets.push(made);
    return made;
  }

  const select = (sql: string) => server.query(sql, database);
  const offsetsOf = async (): Promise<number[]> =>
    (await select("SELECT k_offset FROM positions ORDER BY k_offset")).map((r) => r.k_offset);

  const writeOne = (slice: Slice, to = target()) => writtenOne(to, slice);

  /** With LOAD DATA LOCAL and without. */
  describe.each([1, 0])("local_infile = %i", (localInfile) => {
    beforeAll(async () => void (await server.query(`SET GLOBAL local_infile = ${localInfile}`)));
    afterAll(async () => void (await server.query("SET GLOBAL local_infile = 1")));

    test("a ping's fields are its row's columns, the rest is in extra", async () => {
      const flagged = { ...pingOf(2), speed: "fast", flags: ["jump"], trip: "ü" };
      await writeOne(
        sliceOf(3, 0, [fullPing, { id: "d2", ts: receivedMs, lat: 0, lon: 0 }, flagged]),
      );
      const rows = await select("SELECT *, h3 + 0 AS cell FROM positions ORDER BY k_offset");
      expect(rows).toMatchObject([
        {
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
          k_topic: "positions",
          k_partition: 3,
          k_offset: 0,
        },
        { id: "d2", speed: null, trip: null, extra: null, k_offset: 1 },
        { id: "d2", speed: null, trip: "ü", extra: { seq: 2, speed: "fast", flags: ["jump"] } },
      ]);
      const [{ ts, received, cell }] = await select(
        "SELECT CAST(ts AS char) AS ts, CAST(received_at AS char) AS received, " +
          "CONV(h3, 10, 16) AS cell FROM positions WHERE k_offset = 0",
      );
      const { latLngToCell } = await import("h3-js");
      expect({ ts, received, cell: cell.toLowerCase() }).toEqual({
        ts: "2026-11-21 08:30:00.007",
        received: "2026-11-21 08:30:00.000",
        cell: latLngToCell(-12.5, 77.25, 9),
      });
      const way = localInfile === 1 ? /LOAD DATA LOCAL$/ : /by INSERT.*local_infile/;
      expect(said).toEqual([expect.stringMatching(way)]);
    });

    test("what is written is what is read", async () => {
      const to = target();
      await to.open([taken(0)]);
      let next = 0;
      const decimal = (low: number, high: number) =>
        fc.oneof(
          fc.double({ min: low, max: high, noNaN: true }),
          fc.integer({ min: low, max: high }),
          fc.integer({ min: low * 100, max: high * 100 }).map((n) => n / 100),
        );
      const odd = fc.constantFrom(
        "\\",
        "'",
        '"',
        "\t",
        "\n",
        "\r",
        "\\N",
        "\\.",
        "😀",
        "\x1a",
        "?",
        ":n",
        "%",
      );
      const text = fc.array(fc.oneof(odd, fc.string({ unit: "grapheme" })), { maxLength: 5 });
      const ping = fc.record(
        {
          id: fc.stringMatching(/^[a-zA-Z0-9 _.:'"\\;é😀-]{1,30}$/u),
          ts: fc.integer({ min: Date.UTC(1000, 0, 1), max: Date.UTC(9999, 11, 31) }),
          lat: decimal(-90, 90),
          lon: decimal(-180, 180),
          speed: decimal(0, 150),
          altitude: decimal(-500, 20_000),
          trip: text.map((parts) => parts.join("")),
          seq: fc.nat(),
          note: fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null), text),
        },
        { requiredKeys: ["id", "ts", "lat", "lon"], noNullPrototype: true },
      );
      const noNul = (value: Ping) => !JSON.stringify(value).includes("\\u0000");
      const property = fc.asyncProperty(
        fc.array(ping.filter(noNul), { minLength: 1, maxLength: 40 }),
        async (pings) => {
          const slice = sliceOf(0, next, pings);
          next = slice.end;
          await to.write([slice], noLetters);
          const rows = await select(
            "SELECT id, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ts) DIV 1000 AS ts, lat, lon, " +
              "CAST(speed AS double) AS speed, CAST(altitude AS double) AS altitude, trip, extra " +
              `FROM positions WHERE k_offset >= ${slice.start} ORDER BY k_offset`,
          );
          const rounded = (x?: number | null) => (x == null ? null : Math.fround(x) + 0);
          const wanted = pings.map(
            ({ id, ts, lat, lon, speed, altitude, trip = null, ...rest }) => {
              const extra =
                Object.keys(rest).length === 0 ? null : JSON.parse(JSON.stringify(rest));
              const floats = { speed: rounded(speed), altitude: rounded(altitude) };
              return { id, ts, lat: lat + 0, lon: lon + 0, ...floats, trip, extra };
            },
          );
          const found = rows.map((row) => {
            return { ...row, speed: rounded(row.speed), altitude: rounded(row.altitude) };
          });
          expect(found).toEqual(wanted);
        },
      );
      await fc.assert(property, { numRuns: 40 });
    }, 120_000);

    test("what cannot be a row is a dead letter with its reason, the others are rows", async () => {
      await writeOne(sliceOf(0, 0, [pingOf(0)]));
      await select("ALTER TABLE positions ADD CHECK (id <> 'd3'), MODIFY trip varchar(5)");
      await select("ALTER TABLE positions ADD UNIQUE (k_offset)");
      const bad: [Ping | string | null, RegExp][] = [
        [null, /^bad_json: no value/],
        ["not json", /^bad_json/],
        [pingOf(1, { id: "a/b" }), /^bad_id/],
        [pingOf(1, { lat: 91 }), /^bad_position/],
        ['{"id":"d1","ts":292277026596000000,"lat":1,"lon":2}', /^bad_time/],
        [pingOf(1, { ts: Date.UTC(10_000, 0, 1) }), /^ts: a datetime holds/],
        [pingOf(1, { speed: 1e39 }), /^speed: number out of range/],
        [pingOf(1, { trip: "a\0b" }), /^trip: a NUL byte/],
        [pingOf(1, { note: { deep: ["\0"] } }), /^extra: a NUL byte/],
        [pingOf(1, { note: "x".repeat(9000) }), /^too_large/],
        // what only the database knows
        [pingOf(1, { trip: "ü".repeat(6) }), /^database 1406: .*trip/],
        [pingOf(3), /^database 4025: .*CONSTRAINT/],
      ];
      const good = Array.from({ length: 40 }, (_, i) =>
        pingOf(i, { id: "d0", trip: "ü".repeat(5) }),
      );
      const mixed = good.flatMap((ping, i) => (i < bad.length ? [bad[i][0], ping] : [ping]));
      // a place that is taken already
      const letters = await writeOne(sliceOf(0, 1, [pingOf(7), ...mixed]));
      expect(letters.map(({ offset }) => offset).sort((a, b) => a - b)).toEqual(
        bad.map((_, i) => 2 + i * 2),
      );
      for (const { offset, reason } of letters) expect(reason).toMatch(bad[offset / 2 - 1][1]);
      expect(await offsetsOf()).toHaveLength(good.length + 2);
      const [{ next_offset: next }] = await select("SELECT next_offset FROM milepost_offsets");
      expect(next).toBe(mixed.length + 2);
    });

    test("a key of the table's own leaves out the second row, and says so", async () => {
      await target().open([taken(0)]);
      await select("ALTER TABLE positions ADD UNIQUE (id)");
      const letters = await writeOne(sliceOf(0, 0, [pingOf(0), pingOf(1), pingOf(7), pingOf(2)]));
      expect(letters).toMatchObject([
        { offset: 2, reason: expect.stringMatching(/^database 1062/) },
      ]);
      expect(await offsetsOf()).toEqual([0, 1, 3]);
    });

    test("SQL in ids stays data", async () => {
      const id = "'); DROP TABLE positions; --";
      const trip = "\\N\t\n\\.',\\'";
      await writeOne(
        sliceOf(0, 0, [pingOf(0, { id }), pingOf(1, { trip }), pingOf(2, { id: "\\" })]),
      );
      const rows = await select("SELECT id, trip FROM positions ORDER BY k_offset");
      expect(rows.map((row) => ({ ...row }))).toEqual([
        { id, trip: null },
        { id: "d1", trip },
        { id: "\\", trip: null },
      ]);
    });

    test("columns of the table's own are filled by name", async () => {
      await target().open([taken(0)]);
      await select(
        "ALTER TABLE positions ADD seq bigint, ADD fuel float, ADD door boolean, " +
          "ADD `Driver's.name` varchar(4), ADD made timestamp DEFAULT '2000-01-01', " +
          "ADD row_id int AUTO_INCREMENT PRIMARY KEY",
      );
      await writeOne(
        sliceOf(0, 0, [
          pingOf(5, { fuel: 0.5, door: true, "Driver's.name": "Ann😀", other: 1 }),
          pingOf(6, { fuel: "low", "Driver's.name": "Annie" }),
          { id: "d1", ts: receivedMs, lat: 1, lon: 2 },
        ]),
      );
      const sql = "SELECT seq, fuel, door, `Driver's.name` AS name, extra, row_id FROM positions";
      const rows = await select(`${sql} ORDER BY k_offset`);
      const none = { fuel: null, door: null, name: null };
      const left = { fuel: "low", "Driver's.name": "Annie" };
      expect(rows.map((row) => ({ ...row }))).toEqual([
        { seq: 5, fuel: 0.5, door: 1, name: "Ann😀", extra: { other: 1 }, row_id: 1 },
        { seq: 6, ...none, extra: left, row_id: 2 },
        { seq: null, ...none, extra: null, row_id: 3 },
      ]);
    });
  });

  test("LOAD DATA that is refused under way becomes INSERT", async () => {
    const to = target();
    await to.open([taken(0)]);
    await to.write([sliceOf(0, 0, [pingOf(0)])], noLetters);
    await server.query("SET GLOBAL local_infile = 0");
    await to.write([sliceOf(0, 1, [pingOf(1)])], noLetters);
    await server.query("SET GLOBAL local_infile = 1");
    expect(await offsetsOf()).toEqual([0, 1]);
    expect(said.at(-1)).toMatch(/refused; rows go by INSERT/);
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

  test("a worker that stands still in its transaction is let go by the server", async () => {
    const [old, young] = [target(), target()];
    await old.open([taken(0)]);
    const stuck = Promise.withResolvers<void>();
    const bad = sliceOf(0, 0, [pingOf(0), "not json"]);
    const writing = old.write([bad], () => stuck.promise);
    await young.open([taken(0)]);
    await young.write([bad], async () => {});
    stuck.resolve();
    expect((await writing).lost).toHaveLength(1);
    expect(await offsetsOf()).toEqual([0]);
  });

  describe("what trying again cannot help is said", () => {
    test("tables that are not there", async () => {
      const opened = target({ createSchema: false }).open([taken(0)]);
      await expect(opened).rejects.toThrow(/there is no table positions: .*--create-schema/);
    });

    test("a column that is not there, of another type, or that would round", async () => {
      await target().open([taken(0)]);
      const open = () => target().open([taken(0)]);
      await select("ALTER TABLE positions DROP COLUMN battery");
      await expect(open()).rejects.toThrow(/ADD COLUMN battery float/);
      await select("ALTER TABLE positions ADD COLUMN battery text");
      await expect(open()).rejects.toThrow(/battery .* is text, not float/);
      await select("ALTER TABLE positions MODIFY battery float, MODIFY ts datetime");
      await expect(open()).rejects.toThrow(/ts .* is datetime, not datetime\(3\)/);
      await select("ALTER TABLE positions MODIFY ts datetime(3), MODIFY trip text CHARSET latin1");
      await expect(open()).rejects.toThrow(/trip .*latin1, not text in utf8mb4/);
      await select("ALTER TABLE positions MODIFY trip text CHARSET utf8mb4, ENGINE = Aria");
      await expect(open()).rejects.toThrow(/Aria, .*ALTER TABLE positions ENGINE = InnoDB/);
    });

    test("a column that goes while it is written, or one that must be given", async () => {
      const to = target();
      await to.open([taken(0)]);
      await select("ALTER TABLE positions ADD COLUMN fleet datetime NOT NULL");
      const write = () => to.write([sliceOf(0, 0, [pingOf(0)])], noLetters);
      await expect(write()).rejects.toThrow(/1364.*fleet.*default/);
      await select("ALTER TABLE positions DROP COLUMN fleet, DROP COLUMN battery");
      await expect(write()).rejects.toThrow(/no column battery/);
    });

    test("a wrong password, user or database", async () => {
      const open = (url: string) => target({ url }).open([taken(0)]);
      await expect(open(server.urlOf(database, "root", "no"))).rejects.toThrow(/1045.*password/);
      await expect(open(server.urlOf("nowhere"))).rejects.toThrow(/1049.*CREATE DATABASE/);
    });

    test("rights", async () => {
      await target().open([taken(0)]);
      await select(`CREATE USER reader${tests} IDENTIFIED BY 'secret'`);
      await select(`GRANT SELECT ON ${database}.* TO reader${tests}`);
      const url = server.urlOf(database, `reader${tests}`);
      await expect(target({ url, createSchema: false }).open([taken(0)])).rejects.toThrow(/GRANT/);
    });
  });
});
