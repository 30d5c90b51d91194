/**
 * Against what `MONGODB_URL` names, else a FerretDB where there is one. Neither is a package of
 * Debian's: with `CI=true` too, these tests are skipped where there is none.
 */
import fc from "fast-check";
import { Long } from "mongodb";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { mongodb } from "../../src/sinks/mongodb.ts";
import type { PingDocument } from "../../src/sinks/mongodb-documents.ts";
import type { Slice } from "../../src/sinks/target.ts";
import { Transactional } from "../../src/sinks/transactional.ts";
import { howToAddMongo, missingMongo, MongoServer } from "./mongodb-server.ts";
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

const title = `MongoDB as a target (needs: ${howToAddMongo})`;

describe.skipIf(missingMongo())(title, () => {
  let server: MongoServer;
  let database = "";
  let tests = 0;
  let said: string[] = [];
  const targets: Transactional<PingDocument[]>[] = [];

  beforeAll(async () => {
    server = await new MongoServer().start();
  }, 60_000);
  beforeEach(() => {
    database = `milepost_${process.pid}_${++tests}`;
    said = [];
  });
  afterAll(async () => {
    for (const target of targets) await target.close();
    for (let i = 1; i <= tests; i++) {
      await server.db(`milepost_${process.pid}_${i}`).dropDatabase();
    }
    await server?.stop();
    server?.discard();
  });

  function target(more: { everyMs?: number; url?: string } = {}) {
    const { everyMs = null, url = server.urlOf(database) } = more;
    const say = (line: string): void => void said.push(line);
    const options = { sink: "test", createSchema: true, everyMs };
    const made = new Transactional(mongodb(url, say), options);
    targets.push(made);
    return made;
  }

  const positions = () => server.db(database).collection("positions");
  const found = () => positions().find().sort({ k_partition: 1, k_offset: 1 }).toArray();
  const offsetsOf = async () => (await found()).map(({ k_offset: offset }) => offset as number);

  const writeOne = (slice: Slice, to = target()) => writtenOne(to, slice);

  test("a ping is a document; its _id is its place", async () => {
    const serial = '{"id":"d2","ts":1795250000000,"lat":1,"lon":2,"serial":9007199254740993}';
    await writeOne(sliceOf(3, 0, [fullPing, serial]));
    const { latLngToCell } = await import("h3-js");
    const at = { k_topic: "positions", k_partition: 3, received_at: new Date(receivedMs) };
    expect(await positions().find({}, { promoteLongs: false }).sort({ _id: 1 }).toArray()).toEqual([
      {
        _id: `positions/3/0/${receivedMs}`,
        ts: new Date(receivedMs + 7),
        id: "d1",
        location: { type: "Point", coordinates: [77.25, -12.5] },
        speed: 3.5,
        heading: 90,
        accuracy: 4,
        altitude: -7.5,
        battery: 0.25,
        trip: "t-1",
        h3: latLngToCell(-12.5, 77.25, 9),
        extra: { seq: 9, fuel: "low" },
        ...at,
        k_offset: 0,
      },
      {
        _id: `positions/3/1/${receivedMs}`,
        ts: new Date(1_795_250_000_000),
        id: "d2",
        location: { type: "Point", coordinates: [2, 1] },
        h3: latLngToCell(1, 2, 9),
        extra: { serial: Long.fromString("9007199254740993") },
        ...at,
        k_offset: 1,
      },
    ]);
    const keys = (await positions().indexes()).map(({ key }) => key);
    expect(keys).toContainEqual({ id: 1, ts: -1 });
    if (said.length > 0) expect(said).toEqual([expect.stringMatching(/no 2dsphere index/)]);
    else expect(keys).toContainEqual({ location: "2dsphere" });
  });

  test("what is written is what is read", async () => {
    const to = target();
    await to.open([taken(0)]);
    let next = 0;
    const odd = fc.constantFrom("\\", "'", '"', "\t", "\n", "$where", "a.b", "😀", "\x1a");
    const text = fc.array(fc.oneof(odd, fc.string({ unit: "grapheme" })), { maxLength: 5 });
    const ping = fc.record(
      {
        id: fc.stringMatching(/^[a-zA-Z0-9 _.:'"\\;é😀$-]{1,30}$/u),
        ts: fc.integer({ min: -2.1e14, max: 8.6e15 }),
        lat: fc.double({ min: -90, max: 90, noNaN: true }),
        lon: fc.double({ min: -180, max: 180, noNaN: true }),
        speed: fc.oneof(fc.double({ min: 0, max: 150, noNaN: true }), fc.nat(150)),
        trip: text.map((parts) => parts.join("")),
        seq: fc.maxSafeNat(),
        note: fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(), text),
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
        const rows = await positions()
          .find({ k_offset: { $gte: slice.start } })
          .sort({ k_offset: 1 })
          .toArray();
        const read = rows.map(({ id, ts, location, speed, trip, extra }) => {
          const [lon, lat] = location.coordinates;
          return { id, ts: +ts, lat, lon, speed, trip, ...extra };
        });
        // whole numbers that no double of the client's can hold come back as its own type
        const number = (_name: string, value: unknown) =>
          value instanceof Long ? Number(value) : value;
        const plain = (value: unknown) => JSON.parse(JSON.stringify(value, number));
        expect(plain(read)).toEqual(plain(pings));
      },
    );
    await fc.assert(property, { numRuns: 30 });
  }, 120_000);

  test("what cannot be a document is a dead letter, the others are written", async () => {
    await target().open([taken(0)]);
    await positions().createIndex({ trip: 1, speed: 1 }, { unique: true, sparse: true });
    const bad: [Ping | string | null, RegExp][] = [
      [null, /^bad_json: no value/],
      [pingOf(1, { id: "a/b" }), /^bad_id/],
      ['{"id":"d1","ts":292277026596000000,"lat":1,"lon":2}', /^bad_time/],
      [pingOf(1, { ts: 8.7e15 }), /^ts: time out of range/],
      [pingOf(1, { trip: "a\0b" }), /^trip: a NUL byte/],
      ['{"id":"d1","ts":1795250000000,"lat":1,"lon":2,"n":1e400}', /^extra: number out of range/],
      // what only the database knows
      [pingOf(1, { trip: "same", speed: 1 }), /^database 11000/],
    ];
    const good = Array.from({ length: 30 }, (_, i) => pingOf(i, { trip: `t${i}`, speed: 1 }));
    good[0] = pingOf(0, { trip: "same", speed: 1 });
    const mixed = good.flatMap((ping, i) => (i < bad.length ? [ping, bad[i][0]] : [ping]));
    const letters = await writeOne(sliceOf(0, 0, mixed));
    expect(letters.map(({ offset }) => offset).sort((a, b) => a - b)).toEqual(
      bad.map((_, i) => 1 + i * 2),
    );
    for (const { offset, reason } of letters) expect(reason).toMatch(bad[(offset - 1) / 2][1]);
    expect(await offsetsOf()).toHaveLength(good.length);
  });

  test("what was written before its offsets were moved is written once", async () => {
    const pings = [0, 1, 2, 3].map((seq) => pingOf(seq));
    const dying = target();
    await dying.open([taken(0)]);
    // as if it died between: the documents are in, the offsets are not
    const bury = () => Promise.reject(new Error("no gateway"));
    const slice = sliceOf(0, 0, [...pings, "not json"]);
    await expect(dying.write([slice], bury)).rejects.toThrow("no gateway");
    expect(await offsetsOf()).toEqual([0, 1, 2, 3]);
    const again = target();
    expect(await again.open([taken(0)])).toMatchObject([{ next: 0 }]);
    await again.write([slice], async () => {});
    expect(await offsetsOf()).toEqual([0, 1, 2, 3]);
    expect(await target().open([taken(0)])).toMatchObject([{ next: 5 }]);
  });

  test("of two workers the later has the partition, the other changes nothing", async () => {
    const [old, young] = [target(), target()];
    await old.open([taken(0), taken(1)]);
    await old.write([sliceOf(0, 0, [pingOf(0)]), sliceOf(1, 0, [pingOf(0)])], noLetters);
    expect(await young.open([taken(1)])).toMatchObject([{ partition: 1, next: 1 }]);
    const late = sliceOf(1, 1, [pingOf(1), pingOf(2)]);
    await young.write([late], noLetters);
    const before = await found();
    expect((await old.write([late], noLetters)).lost).toMatchObject([{ partition: 1 }]);
    expect(await found()).toEqual(before);
    expect(await target().open([taken(1)])).toMatchObject([{ next: 3 }]);
  });

  test("another topic of the same name is not written on top", async () => {
    await writeOne(sliceOf(0, 0, [pingOf(0)]));
    const anew = { ...taken(0), topicId: topicId.replace("0", "1") };
    await expect(target().open([anew])).rejects.toThrow(/milepost_offsets.deleteMany\({"sink"/);
  });

  test("one document a driver and interval, also across a restart", async () => {
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

  test("a URL that makes no sense, or a wrong password, is said", async ({ skip }) => {
    const open = (url: string) => target({ url }).open([taken(0)]);
    const nonsense = server.urlOf(database).replace(/(\?|$)/, "?nonsense=1&");
    await expect(open(nonsense)).rejects.toThrow(/^MongoDB: .*nonsense/);
    if (!server.isOurs) skip("its logins are not known");
    await expect(open(server.urlOf(database, "root:no"))).rejects.toThrow(
      /refuses \(18\).*password/,
    );
    const none = server.urlOf(database).replace("root:secret@", "");
    await expect(open(none)).rejects.toThrow(/refuses \(13\).*readWrite/);
  });
});
