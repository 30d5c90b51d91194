/** `milepost sink parquet` and `milepost query` as a user runs them: all are real processes. */
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetMetadata } from "hyparquet";
import { Admin, Producer, stringSerializers } from "@platformatic/kafka";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { milepost, type Outcome, RunningCommand } from "../cli/run.ts";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { mountSmall } from "../harness/small-disk.ts";
import { type Ping, pingOf, receivedMs } from "./slices.ts";

const patiently = { timeout: 90_000, interval: 200 };
/** For what a process is started to ask. */
const seldom = { timeout: 90_000, interval: 1500 };
let gateway: Gateway;
let producer: Producer<string, string, string, string>;
let scratch: string;
let topics = 0;
const workers: RunningCommand[] = [];

beforeAll(async () => {
  gateway = await startGateway();
  scratch = mkdtempSync(join(tmpdir(), "milepost-parquet-worker-"));
  producer = new Producer({
    clientId: "test",
    bootstrapBrokers: [kafka()],
    serializers: stringSerializers,
    autocreateTopics: true,
  });
}, 60_000);
afterEach(() => {
  for (const worker of workers.splice(0)) worker.child.kill("SIGKILL");
});
afterAll(async () => {
  await producer?.close(true);
  await gateway?.stop();
  rmSync(scratch, { recursive: true, force: true });
}, 60_000);

const kafka = (): string => `127.0.0.1:${gateway.ports.kafka}`;

/** A topic, folder and group of one test. */
class Fleet {
  readonly topic = `fleet${++topics}`;
  readonly dir: string;
  sent = 0;

  constructor(dir = join(scratch, `it's [${topics}]`)) {
    this.dir = dir;
  }

  async produce(count: number, more: (seq: number) => Ping | string = () => ({})): Promise<void> {
    const messages = Array.from({ length: count }, () => {
      const seq = this.sent++;
      const ping = more(seq);
      const at = receivedMs + Math.floor(seq / 1000) * 3_600_000;
      const value = typeof ping === "string" ? ping : JSON.stringify({ ...pingOf(seq, ping) });
      return { topic: this.topic, key: `d${seq % 97}`, value, timestamp: BigInt(at) };
    });
    for (let at = 0; at < messages.length; at += 1000) {
      await producer.send({ messages: messages.slice(at, at + 1000), acks: -1 });
    }
  }

  start(...more: string[]): RunningCommand {
    const group = ["--group", `sink-${this.topic}`, "--topics", this.topic];
    const words = ["sink", "parquet", "--dir", this.dir, "--server", kafka(), ...group];
    const worker = new RunningCommand([...words, "--roll", "1s", ...more]);
    workers.push(worker);
    return worker;
  }

  query(sql: string, ...more: string[]): Promise<Outcome> {
    return milepost(["query", sql.replaceAll("positions", this.topic), "--dir", this.dir, ...more]);
  }

  async status(): Promise<any> {
    const { stdout } = await milepost(["sink", "status", "--json", "--server", kafka()]);
    const found = JSON.parse(stdout).sinks;
    return found.find(({ group }: { group: string }) => group === `sink-${this.topic}`);
  }

  /** By the files' footers: it is asked often. */
  rows(): number {
    const top = join(this.dir, `topic=${this.topic}`);
    if (!existsSync(top)) return 0;
    const names = readdirSync(top, { recursive: true, encoding: "utf8" });
    const files = names.filter((name) => name.endsWith(".parquet"));
    return files.reduce((sum, file) => {
      const bytes = new Uint8Array(readFileSync(join(top, file)));
      return sum + Number(parquetMetadata(bytes.buffer).num_rows);
    }, 0);
  }

  /** Each row that was sent is there once, and each offset is. */
  async complete(wanted = this.sent): Promise<void> {
    await expect.poll(() => this.rows(), patiently).toBeGreaterThanOrEqual(wanted);
    const { stdout } = await this.query(
      "SELECT count(*) AS n, count(DISTINCT (k_partition, k_offset)) AS places, " +
        "count(DISTINCT extra->>'seq') AS seqs FROM positions",
      "--json",
    );
    expect(JSON.parse(stdout)).toEqual({ n: wanted, places: wanted, seqs: wanted });
  }
}

test("pings become files by hours; two share, one is killed; SIGTERM publishes", async () => {
  const fleet = new Fleet();
  await fleet.produce(3000);
  const first = fleet.start("--admin-port", "0");
  await fleet.complete();
  const port = /127\.0\.0\.1:(\d+)\/metrics/.exec(first.stderr)?.[1];
  const metrics = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  // a file is there a little before the worker counts it
  await expect.poll(metrics, patiently).toMatch(/^milepost_sink_rows_total 3000$/m);
  const hours = await fleet.query(
    "SELECT hour, count(*) AS n FROM positions GROUP BY ALL ORDER BY 1",
  );
  expect(hours.stdout).toBe("hour     n\n   8  1000\n   9  1000\n  10  1000\n");
  const second = fleet.start("--roll", "1h");
  await expect.poll(() => second.stderr, patiently).toMatch(/has \d+ partitions/);
  await fleet.produce(2000);
  first.child.kill("SIGKILL");
  await fleet.produce(1000);
  // it holds what it has read, for an hour, but for what another hour ended
  await expect.poll(async () => (await fleet.status())?.workers, seldom).toBe(1);
  await expect.poll(() => second.stderr, patiently).toMatch(/has 4 partitions/);
  expect(await second.end("SIGTERM")).toMatchObject({ code: 0, stdout: "" });
  fleet.start();
  await fleet.complete();
  await expect.poll(async () => (await fleet.status()).lag, seldom).toBe(0);
  expect((await fleet.status()).deadLettered).toBe(0);
}, 240_000);

test("what is no ping goes to positions.dlq; SQL in an id stays data", async () => {
  const fleet = new Fleet();
  const id = "x'); DROP TABLE positions; --";
  await fleet.produce(200, (seq) => (seq % 50 === 7 ? `no ping ${seq}` : { id }));
  // with the letter's headers it would be more than a topic takes
  const key = "k".repeat(1_048_400);
  const message = { topic: fleet.topic, partition: 0, key, value: "no ping 0" };
  await producer.send({ messages: [message], acks: -1 });
  // letters that it reads itself stay where they are
  fleet.start("--topics", `${fleet.topic},positions.dlq`);
  await fleet.complete(196);
  await expect.poll(async () => (await fleet.status())?.lag, seldom).toBe(0);
  const { stdout } = await fleet.query("SELECT DISTINCT id FROM positions", "--json");
  expect(JSON.parse(stdout)).toEqual({ id });
  const args = ["consume", "positions.dlq", "-e", "--json", "--server", kafka()];
  const letters = (await milepost(args)).stdout.trim().split("\n");
  const values = letters.map((line) => JSON.parse(line).value).toSorted();
  expect(values).toEqual(["no ping 0", "no ping 107", "no ping 157", "no ping 57", "no ping 7"]);
}, 180_000);

test("partitions that are added are written; a topic that is made anew ends it", async () => {
  const fleet = new Fleet();
  const admin = new Admin({ clientId: "test", bootstrapBrokers: [kafka()] });
  await admin.createTopics({ topics: [fleet.topic], partitions: 1 });
  await fleet.produce(100);
  const worker = fleet.start();
  await fleet.complete();
  const more = { name: fleet.topic, count: 3, assignments: null as never };
  await admin.createPartitions({ topics: [more] });
  await producer.metadata({ topics: [fleet.topic], forceUpdate: true });
  await fleet.produce(100);
  await fleet.complete();
  expect(worker.stderr).toMatch(/has 3 partitions now; joining the group again/);
  await admin.deleteTopics({ topics: [fleet.topic] });
  await admin.createTopics({ topics: [fleet.topic], partitions: 3 });
  await admin.close();
  const { code, stderr } = await worker.outcome;
  expect([code, stderr]).toEqual([1, expect.stringMatching(/is not the one that .* has files of/)]);
}, 120_000);

test("the disk is full for a while", async ({ skip }) => {
  const disk = mountSmall(16);
  if ("missing" in disk) return skip(disk.missing);
  try {
    const fleet = new Fleet(join(disk.dir, "parquet"));
    await fleet.produce(500);
    const worker = fleet.start();
    await fleet.complete();
    const ballast = join(disk.dir, "ballast");
    const { bavail, bsize } = statfsSync(disk.dir);
    writeFileSync(ballast, Buffer.alloc((bavail - 2) * bsize, 1));
    await fleet.produce(2000);
    await expect.poll(() => worker.stderr, patiently).toMatch(/[Nn]o space left.*; trying again/);
    rmSync(ballast);
    await fleet.complete();
    expect(worker.stderr).toMatch(/writing goes on/);
    expect((await worker.end("SIGTERM")).code).toBe(0);
  } finally {
    disk.unmount();
  }
}, 180_000);

test("a topic that is not there and a port that is taken are said, with what to do", async () => {
  const run = (...more: string[]) =>
    milepost(["sink", "parquet", "--dir", scratch, "--server", kafka(), ...more]);
  const taken = String(gateway.ports.kafka);
  const [topic, port] = await Promise.all([run("--topics", "no"), run("--admin-port", taken)]);
  expect([topic.code, topic.stderr]).toEqual([
    1,
    "milepost: no such topic: no; `milepost topics list` names them\n",
  ]);
  expect([port.code, port.stderr]).toEqual([
    1,
    `milepost: port 127.0.0.1:${taken} is in use; choose another with --admin-port\n`,
  ]);
});

test("query: tables, JSON and CSV; what is wrong is said", async () => {
  const fleet = new Fleet();
  const early = await fleet.query("SELECT 1");
  expect([early.code, early.stdout]).toEqual([1, ""]);
  expect(early.stderr).toMatch(/no Parquet files yet.*milepost sink parquet --dir/);
  await fleet.produce(3, (seq) => ({ id: `d${seq}`, trip: seq === 1 ? 'a,"b"\n' : null }));
  fleet.start();
  await fleet.complete();
  const sql =
    "SELECT id, ts, trip, h3, 0.1::FLOAT AS f, 1.50::DECIMAL(5, 2) AS d FROM positions ORDER BY id";
  const line = (id: number, trip: string): string =>
    `{"id":"d${id}","ts":"2026-11-21T08:30:00.00${id}Z","trip":${trip},"h3":61`;
  const json = await fleet.query(sql, "--json");
  expect(json.stdout).toContain(line(0, "null").replace(".000", ""));
  expect(json.stdout).toContain(line(1, String.raw`"a,\"b\"\n"`));
  expect(json.stdout).toMatch(/^(\{.*"h3":61\d{16},"f":0.1,"d":1.50\}\n){3}$/);
  const csv = await fleet.query(sql, "--csv");
  expect(csv.stdout).toMatch(
    /^id,ts,trip,h3,f,d\r\nd0,2026-11-21 08:30:00\+00,,61\d+,0.1,1.50\r\n/,
  );
  expect(csv.stdout).toContain(`,"a,""b""\n",61`);
  const table = await fleet.query(sql);
  expect(table.stdout).toMatch(/^id  ts +trip +h3 +f  d\nd0  2026-11-21 08:30:00\+00 +61\d+ /);
  expect(table.stdout).toContain(String.raw`  a,"b"\n  61`);
  const many = await fleet.query("SELECT range AS n FROM range(100000)", "--json");
  expect(many.stdout).toMatch(/^\{"n":0\}\n[^]*\n\{"n":99999\}\n$/);
  expect((await fleet.query("SELECT 1 WHERE false")).stdout).toBe("1\n");
  for (const [wrong, says] of [
    ["SELEC 1", /^milepost: Parser Error: syntax error at or near "SELEC"/],
    ["FROM rejects", /^milepost: Catalog Error: .*rejects does .*\nThe folder has: fleet\d+\n\n/],
    ["SELECT nope FROM positions", /^milepost: Binder Error: .*"nope" not found/],
    ["SELECT error('late') FROM positions", /^milepost: Invalid Input Error: late/],
  ] as const) {
    const { code, stdout, stderr } = await fleet.query(wrong);
    expect([code, stdout, stderr]).toEqual([1, "", expect.stringMatching(says)]);
  }
  const both = await fleet.query(sql, "--json", "--csv");
  expect([both.code, both.stderr]).toEqual([2, expect.stringContaining("one of them")]);
  const page = readFileSync(new URL("../../docs/sinks.md", import.meta.url), "utf8");
  const recipes = [...page.matchAll(/milepost query "([^"]+)"/g)].map(([, recipe]) => recipe);
  expect(recipes.length).toBeGreaterThan(2);
  for (const recipe of recipes) {
    const { code, stderr } = await fleet.query(recipe);
    expect([code, stderr], recipe).toEqual([0, ""]);
  }
}, 180_000);
