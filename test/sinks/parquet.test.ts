import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { latLngToCell } from "h3-js";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ParquetQuery } from "../../src/sinks/parquet-query.ts";
import { Parquet, type ParquetOptions } from "../../src/sinks/parquet.ts";
import type { DeadLetter, Slice } from "../../src/sinks/target.ts";
import { noLetters, pingOf, receivedMs, sliceOf, taken, topicId, fullPing } from "./slices.ts";

const hourMs = 3_600_000;
const first = "positions-0-00000000000000000000.parquet";
let dir: string;
const targets: Parquet[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "milepost-parquet-"));
});
afterEach(async () => {
  for (const target of targets.splice(0)) await target.close();
  rmSync(dir, { recursive: true, force: true });
});

function target(more: Partial<ParquetOptions> = {}): Parquet {
  const made = new Parquet({ dir, group: "test", everyMs: null, ageMsMax: 60_000, ...more });
  targets.push(made);
  return made;
}

async function select(sql: string, inDir = dir): Promise<unknown[][]> {
  const query = await ParquetQuery.open(inDir);
  try {
    const { rows } = await query.run(sql);
    const all: unknown[][] = [];
    for await (const chunk of rows) all.push(...chunk);
    return all;
  } finally {
    query.close();
  }
}

const offsets = async (): Promise<number[]> =>
  (await select("SELECT k_offset FROM positions ORDER BY k_partition, k_offset")).map(([o]) =>
    Number(o),
  );

const files = (): string[] =>
  readdirSync(dir, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".parquet"))
    .sort();

const pings = (from: number, to: number): Record<string, unknown>[] =>
  Array.from({ length: to - from }, (_, i) => pingOf(from + i));

const open = async (to: Parquet): Promise<number> => (await to.open([taken(0)]))[0].next;

async function writeAll(to: Parquet, ...slices: Slice[]): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = [];
  await to.write(slices, async (more) => void letters.push(...more));
  await to.publish(true);
  return letters;
}

test("a ping's fields are its row's columns, the rest is in extra", async () => {
  const flagged = { ...pingOf(2), speed: "fast", trip: "", flags: ["jump"] };
  const sink = target();
  await sink.open([taken(3)]);
  await writeAll(
    sink,
    sliceOf(3, 0, [fullPing, { id: "d2", ts: receivedMs, lat: 0, lon: 0 }, flagged]),
  );
  const rows = await select(
    "SELECT * REPLACE (epoch_ms(ts) AS ts, epoch_ms(received_at) AS received_at, " +
      "format('{:x}', h3) AS h3) FROM positions ORDER BY k_offset",
  );
  const received = String(receivedMs);
  const place = (offset: number) => ["positions", 3, `${offset}`, "2026-11-21", 8];
  const nulls = [null, null, null, null, null];
  const extra = `{"seq":9,"fuel":"low"}`;
  const cell = (lat: number, lon: number): string => latLngToCell(lat, lon, 9);
  expect(rows).toEqual([
    [
      [`${receivedMs + 7}`, "d1", -12.5, 77.25, 3.5, 90, 4, -7.5, 0.25, "t-1"],
      [cell(-12.5, 77.25), extra, received, place(0)].flat(),
    ].flat(),
    [received, "d2", 0, 0, nulls, null, cell(0, 0), null, received, place(1)].flat(),
    [
      [`${receivedMs + 2}`, "d2", 12.97002, 77.59, nulls, "", cell(12.97002, 77.59)].flat(),
      [expect.any(String), received, place(2)].flat(),
    ].flat(),
  ]);
  expect(JSON.parse(rows[2][11] as string)).toEqual({ speed: "fast", flags: ["jump"], seq: 2 });
  const types = await select("SELECT column_name, column_type FROM (DESCRIBE positions)");
  expect(Object.fromEntries(types)).toMatchObject({
    ts: "TIMESTAMP WITH TIME ZONE",
    lat: "DOUBLE",
    speed: "FLOAT",
    h3: "UBIGINT",
    extra: "VARCHAR",
    k_offset: "BIGINT",
  });
});

test("texts of any length and script are what they were; SQL in them is text", async () => {
  const texts = [
    ...Array.from({ length: 40 }, (_, n) => "abcdefghijklmnopqrstuvwxyz0123456789ABCD".slice(0, n)),
    "ü".repeat(9),
    "12345678901é",
    "😀😀😀",
    "'); DROP TABLE positions; --",
    `"quoted" \\ and \t more`,
    "x".repeat(3000),
  ];
  const sink = target();
  await open(sink);
  const id = (i: number): string => (i === 0 ? "'; --" : texts[i].replace(/[^a-z0-9ü]/gi, "_"));
  const made = texts.map((trip, i) => ({ ...pingOf(i), id: id(i).slice(0, 100) || "_", trip }));
  expect(await writeAll(sink, sliceOf(0, 0, [...made, { ...pingOf(0), id: "🚕 é" }]))).toEqual([]);
  const rows = await select("SELECT trip, id FROM positions ORDER BY k_offset");
  expect(rows.slice(0, -1)).toEqual(made.map((ping) => [ping.trip, ping.id]));
  expect(rows.at(-1)).toEqual([null, "🚕 é"]);
});

test("many rows: each once, through several blocks, a driver's together", async () => {
  const sink = target();
  await open(sink);
  for (let from = 0; from < 10_000; from += 2500) {
    await sink.write([sliceOf(0, from, pings(from, from + 2500))], noLetters);
  }
  const { safe, lost } = await sink.publish(true);
  expect(lost).toEqual([]);
  expect(safe).toMatchObject([{ partition: 0, next: 10_000, rows: 10_000 }]);
  expect(await offsets()).toEqual(Array.from({ length: 10_000 }, (_, i) => i));
  const [[runs]] = await select(
    "SELECT count(*) FROM (SELECT id, lag(id) OVER (ORDER BY file_row_number) AS before " +
      `FROM read_parquet('${dir}/topic=*/*/*/*.parquet', file_row_number = true)) ` +
      "WHERE before IS DISTINCT FROM id",
  );
  expect(runs, "7 drivers").toBe("7");
});

test("a file is of one hour of receipt, and its footer says where it ends", async () => {
  const sink = target();
  await open(sink);
  const at = (from: number, ms: number): Slice => sliceOf(0, from, pings(from, from + 10), ms);
  const late = receivedMs + hourMs;
  // the last of them were received before those in front of them
  await writeAll(
    sink,
    at(0, receivedMs),
    at(10, late),
    at(20, late + 23 * hourMs),
    at(30, receivedMs),
  );
  expect(files()).toEqual([
    `topic=positions/date=2026-11-21/hour=08/${first}`,
    "topic=positions/date=2026-11-21/hour=08/positions-0-00000000000000000030.parquet",
    "topic=positions/date=2026-11-21/hour=09/positions-0-00000000000000000010.parquet",
    "topic=positions/date=2026-11-22/hour=08/positions-0-00000000000000000020.parquet",
  ]);
  expect(
    await select(
      "SELECT decode(key), decode(value) FROM parquet_kv_metadata(" +
        `'${dir}/topic=positions/date=2026-11-21/hour=09/*') ORDER BY ALL`,
    ),
  ).toEqual([
    ["end", "20"],
    ["group", "test"],
    ["partition", "0"],
    ["start", "10"],
    ["topic", "positions"],
    ["topicId", topicId],
  ]);
  // the newest is not in the newest folder
  for (const remembered of [true, false]) {
    if (!remembered) rmSync(join(dir, "topic=positions", "_newest"), { recursive: true });
    expect(await open(target()), `remembered: ${remembered}`).toBe(40);
  }
  expect(
    await select("SELECT count(*) FROM positions WHERE date = '2026-11-21' AND hour = 9"),
  ).toEqual([["10"]]);
});

test("two race for one START: one publishes, the other goes on from its END", async () => {
  const [one, two] = [target(), target()];
  for (const sink of [one, two]) expect(await open(sink)).toBe(0);
  await one.write([sliceOf(0, 0, pings(0, 10))], noLetters);
  await two.write([sliceOf(0, 0, pings(0, 25))], noLetters);
  const outcomes = await Promise.all([one.publish(true), two.publish(true)]);
  expect(outcomes.map(({ lost }) => lost.length).toSorted()).toEqual([0, 1]);
  const winner = outcomes[0].lost.length === 0 ? 0 : 1;
  const end = winner === 0 ? 10 : 25;
  expect(outcomes[winner].safe).toMatchObject([{ next: end }]);
  const loser = [one, two][1 - winner];
  expect(await open(loser)).toBe(end);
  expect((await loser.publish(true)).safe, "it has discarded its own").toEqual([]);
  await writeAll(loser, sliceOf(0, end, pings(end, 40)));
  expect(await offsets()).toEqual(Array.from({ length: 40 }, (_, i) => i));
  expect(readdirSync(join(dir, "_tmp"))).toEqual([]);
});

test("one that stood still while the log dropped its records publishes nothing", async () => {
  const old = target();
  await open(old);
  await old.write([sliceOf(0, 0, pings(0, 10))], noLetters);
  const young = target();
  expect((await young.open([taken(0, 50)]))[0], "the log begins at 50").toMatchObject({ next: 50 });
  await writeAll(young, sliceOf(0, 50, pings(50, 60), receivedMs + hourMs));
  expect((await old.publish(true)).lost).toMatchObject([{ partition: 0 }]);
  expect((await offsets())[0]).toBe(50);
});

test("what is held of a partition that stays is kept through a rebalance", async () => {
  const sink = target();
  await sink.open([taken(0), taken(1)]);
  await sink.write([sliceOf(0, 0, pings(0, 10)), sliceOf(1, 0, pings(0, 10))], noLetters);
  expect(await sink.open([taken(0)])).toMatchObject([{ partition: 0, next: 10, safe: 0 }]);
  await writeAll(sink, sliceOf(0, 10, pings(10, 20)));
  expect(await select("SELECT k_partition, count(*) FROM positions GROUP BY ALL")).toEqual([
    [0, "20"],
  ]);
});

test("what is no ping is a dead letter before its file is published", async () => {
  const sink = target();
  await open(sink);
  const values = [pingOf(0), "no json", { ...pingOf(2), extra: "\0" }, pingOf(3)];
  const batch = [sliceOf(0, 0, values), sliceOf(0, 4, [pingOf(4)], 9_223_372_036_900_000)];
  let buried: DeadLetter[] = [];
  let fails = true;
  const bury = async (letters: DeadLetter[]): Promise<void> => {
    if (fails) throw new Error("not now");
    buried = [...buried, ...letters];
  };
  await expect(sink.write(batch, bury)).rejects.toThrow("not now");
  expect(await open(sink), "a rebalance in between: it is read again").toBe(0);
  await expect(sink.write(batch, bury)).rejects.toThrow("not now");
  fails = false;
  await sink.write(batch, bury);
  expect(buried).toMatchObject([
    { offset: 1, reason: expect.stringMatching(/^bad_json/) },
    { offset: 2, reason: "extra: a NUL byte" },
    { offset: 4, reason: "time out of range" },
  ]);
  const { safe } = await sink.publish(true);
  expect(safe).toMatchObject([
    { next: 4, rows: 2, deadLettered: 2 },
    { next: 5, rows: 0, deadLettered: 1 },
  ]);
  expect(await offsets()).toEqual([0, 3]);
});

test("nothing but dead letters is a file too: they are not buried again", async () => {
  const sink = target();
  await open(sink);
  expect(await writeAll(sink, sliceOf(0, 0, ["x", null]))).toHaveLength(2);
  expect(await open(target())).toBe(2);
  expect(await offsets()).toEqual([]);
});

test("--every: a driver's first row of an interval", async () => {
  const sink = target({ everyMs: 10_000 });
  await open(sink);
  const made = Array.from({ length: 60 }, (_, i) => ({ ...pingOf(i), ts: receivedMs + i * 1000 }));
  const drivers = made.map((ping, i) => ({ ...ping, id: i % 2 === 0 ? "even" : "odd" }));
  await writeAll(sink, sliceOf(0, 0, drivers));
  expect(await offsets()).toEqual([0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51]);
  expect(await open(target())).toBe(60);
});

test("--every: rows that were chosen of a partition that was lost are chosen again", async () => {
  const [sink, other] = [target({ everyMs: 10_000 }), target()];
  await open(sink);
  await open(other);
  await sink.write([sliceOf(0, 0, pings(0, 10))], noLetters);
  await writeAll(other, sliceOf(0, 0, pings(0, 10)));
  expect((await sink.publish(true)).lost).toHaveLength(1);
  const late = sliceOf(0, 10, [{ ...pingOf(10), id: "late" }]);
  await sink.write([late], noLetters);
  expect(await open(sink)).toBe(10);
  await writeAll(sink, late);
  expect(await offsets()).toContain(10);
});

test("another topic of the name, another group, and foreign files are refused", async () => {
  const sink = target();
  await open(sink);
  await writeAll(sink, sliceOf(0, 0, pings(0, 10)));
  const anew = { ...taken(0), topicId: "0f7ad4a1-0000-4c2e-9d51-0a3a2d5d6b10" };
  await expect(target().open([anew])).rejects.toThrow(
    `another gateway. Name another --dir, or move the old files away: mv '${dir}/topic=positions'`,
  );
  await expect(open(target({ group: "other" }))).rejects.toThrow("--group 'test'");
  const foreign = join(dir, "topic=fremd/date=2026-11-21/hour=08");
  mkdirSync(foreign, { recursive: true });
  await select(
    `COPY (SELECT 1 AS x) TO '${join(foreign, "fremd-0-00000000000000000000.parquet")}'`,
  );
  await expect(target().open([{ ...taken(0), topic: "fremd" }])).rejects.toThrow(
    "is not what a sink has written",
  );
  writeFileSync(join(foreign, "fremd-0-00000000000000000000.parquet"), "no Parquet at all");
  await expect(target().open([{ ...taken(0), topic: "fremd" }])).rejects.toThrow(
    "is not what a sink has written",
  );
  writeFileSync(join(dir, "file"), "");
  await expect(open(target({ dir: join(dir, "file") }))).rejects.toThrow("name another --dir");
});

test("files that are taken away: old ones for good, the newest is written again", async () => {
  const sink = target();
  await open(sink);
  await writeAll(sink, sliceOf(0, 0, pings(0, 10)));
  await writeAll(sink, sliceOf(0, 10, pings(10, 20), receivedMs + hourMs));
  const hours = join(dir, "topic=positions/date=2026-11-21");
  rmSync(join(hours, "hour=08"), { recursive: true });
  expect(await open(target())).toBe(20);
  rmSync(hours, { recursive: true });
  expect(await open(target()), "as one does with old ones").toBe(20);
  const young = target();
  await open(young);
  await writeAll(young, sliceOf(0, 20, pings(20, 30), receivedMs + 9 * hourMs));
  await writeAll(young, sliceOf(0, 30, pings(30, 40), receivedMs));
  rmSync(join(hours, "hour=08"), { recursive: true });
  expect(await open(target()), "the newest was in an old folder").toBe(40);
  renameSync(join(dir, "topic=positions"), join(dir, "away"));
  expect(await open(target()), "the way to begin anew").toBe(0);
});

test("what dead workers left is cleared, what live ones write is not", async () => {
  const dead = spawnSync("true").pid;
  const aside = join(dir, "_tmp");
  mkdirSync(aside);
  const name = (pid: number): string => `${hostname()}-${pid}-0123abcd-1`;
  for (const pid of [dead, process.ppid]) writeFileSync(join(aside, name(pid)), "half a file");
  await open(target());
  expect(readdirSync(aside)).toEqual([name(process.ppid)]);
});
