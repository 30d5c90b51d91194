/** `milepost sink` as a user runs it: gateway, PostgreSQL and workers are real processes. */
import { readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Producer, stringSerializers } from "@platformatic/kafka";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { milepost, RunningCommand } from "../cli/run.ts";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { mountSmall } from "../harness/small-disk.ts";
import { missing } from "../setup/parts.ts";
import { PostgresServer } from "./postgres-server.ts";
import { type Ping, pingOf, receivedMs } from "./slices.ts";

const patiently = { timeout: 90_000, interval: 200 };
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe.skipIf(missing("postgresql"))("milepost sink", () => {
  let server: PostgresServer;
  let gateway: Gateway;
  let producer: Producer<string, string, string, string>;
  let database = "";
  /** A topic, group and database of one test. */
  let topic = "positions";
  let group = "sink-postgres";
  let tests = 0;
  let sent = 0;
  const workers: RunningCommand[] = [];

  beforeAll(async () => {
    [server, gateway] = await Promise.all([new PostgresServer().start(), startGateway()]);
    connect();
  }, 60_000);
  beforeEach(async () => {
    database = `w${++tests}`;
    sent = 0;
    // the first has what a worker that is told nothing has
    if (tests > 1) [topic, group] = [`fleet${tests}`, `group ${tests}`];
    await server.database(database);
  }, 60_000);
  afterEach(({ task }) => {
    const failed = task.result?.state === "fail";
    for (const { child, stderr } of workers.splice(0)) {
      child.kill("SIGKILL");
      if (failed) process.stderr.write(`a worker said:\n${stderr}\n`);
    }
  });
  afterAll(async () => {
    await producer?.close(true);
    await gateway?.stop();
    await server?.stop();
    server?.discard();
  });

  function connect(): void {
    producer = new Producer({
      clientId: "test",
      bootstrapBrokers: [kafka()],
      serializers: stringSerializers,
      idempotent: true,
      autocreateTopics: true,
      retries: 20,
      retryDelay: 500,
    });
  }

  const kafka = (): string => `127.0.0.1:${gateway.ports.kafka}`;
  const url = (): string => server.urlOf(database);
  const select = (sql: string) => server.query<Record<string, any>>(sql, [], database);

  /** Pings with `seq` from `sent` on, over all partitions. */
  async function produce(count: number, more: (seq: number) => Ping = () => ({})): Promise<void> {
    const messages = Array.from({ length: count }, () => {
      const seq = sent++;
      const ping = { ...pingOf(seq, more(seq)), id: `d${seq % 97}` };
      return { topic, key: ping.id, value: JSON.stringify(ping) };
    });
    for (let at = 0; at < messages.length; at += 2000) {
      await producer.send({ messages: messages.slice(at, at + 2000), acks: -1 });
    }
  }

  function start(...more: string[]): RunningCommand {
    const words = ["sink", "postgres", "--url", url(), "--server", kafka(), "--create-schema"];
    if (tests > 1) words.push("--topics", topic, "--group", group);
    const worker = new RunningCommand([...words, ...more]);
    workers.push(worker);
    return worker;
  }

  /** Every ping that was sent is there once, and each offset is. */
  async function complete(): Promise<void> {
    const count = async (): Promise<number> => {
      const found = await select("SELECT count(*)::int AS n FROM positions").catch(() => [
        { n: 0 },
      ]);
      return found[0].n;
    };
    await expect.poll(count, patiently).toBeGreaterThanOrEqual(sent);
    const [found] = await select(
      `SELECT count(*)::int AS n, count(DISTINCT (k_partition, k_offset))::int AS places,
        count(DISTINCT extra->>'seq')::int AS seqs FROM positions`,
    );
    expect(found).toEqual({ n: sent, places: sent, seqs: sent });
  }

  const assigned = (worker: RunningCommand): Promise<string> =>
    expect.poll(() => worker.stderr, patiently).toMatch(/has \d+ partitions/) as never;

  test("pings become rows; SIGTERM ends it in good order; status tells", async () => {
    await produce(5000);
    const worker = start("--admin-port", "0");
    await complete();
    const port = /127\.0\.0\.1:(\d+)\/metrics/.exec(worker.stderr)?.[1];
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    expect(metrics).toMatch(/^milepost_sink_rows_total 5000$/m);
    expect(metrics).toMatch(/^milepost_sink_lag_records 0$/m);
    const running = await milepost(["sink", "status", "--json", "--server", kafka()]);
    expect(JSON.parse(running.stdout).sinks).toMatchObject([
      { group: "sink-postgres", workers: 1 },
    ]);
    expect(await worker.end("SIGTERM")).toMatchObject({ code: 0, stdout: "" });
    expect(worker.stderr).toContain("5 000 rows");
    const page = readFileSync(new URL("../../docs/sinks.md", import.meta.url), "utf8");
    const recipe = /```sql\n([^`]*)```/.exec(page)?.[1] as string;
    expect(await select(recipe.replace("interval '1 hour'", "interval '100 years'"))).toHaveLength(
      20,
    );
    await produce(100);
    const stopped = await milepost(["sink", "status", "--json", "--server", kafka()]);
    const [sink] = JSON.parse(stopped.stdout).sinks;
    expect(sink).toMatchObject({ group: "sink-postgres", workers: 0, lag: 100, deadLettered: 0 });
    expect(sink.lagSeconds).toBeGreaterThan(0);
    expect(sink.lastCommit).toBeGreaterThan(receivedMs - 1e11);
    expect(sink.partitions).toHaveLength(16);
    const { next, end, lag } = sink.partitions[0];
    expect(end - next).toBe(lag);
    const text = await milepost(["sink", "status", "--server", kafka()]);
    expect(text.stdout).toMatch(/^GROUP +WORKERS.*\nsink-postgres +0 /);
    start();
    await complete();
  }, 180_000);

  test("two workers share, are killed and stopped, and each ping is there once", async () => {
    await produce(2000);
    let two = [start(), start()];
    let seed = Date.now() % 1000;
    for (let round = 0; round < 6; round++) {
      await produce(1500);
      await Promise.race([...two.map((worker) => assigned(worker)), sleep(20_000)]);
      seed = (seed * 7919 + 17) % 1000;
      await sleep(seed);
      const victim = seed % 2;
      // a clean stop now and then: rebalances of another kind
      two[victim].child.kill(round % 3 === 2 ? "SIGTERM" : "SIGKILL");
      await two[victim].outcome;
      two = [two[1 - victim], start()];
    }
    await complete();
  }, 400_000);

  test("a worker that stood still writes nothing when it goes on", async () => {
    await produce(3000);
    const old = start();
    await complete();
    old.child.kill("SIGSTOP");
    const young = start();
    await produce(3000);
    // the group misses the one that stands still, and gives its partitions away
    await complete();
    old.child.kill("SIGCONT");
    await produce(3000);
    await complete();
    expect(old.child.exitCode).toBe(null);
    for (const worker of [old, young]) expect((await worker.end("SIGTERM")).code).toBe(0);
    await complete();
  }, 300_000);

  test("the database is killed under it, stays away, and comes back", async () => {
    await produce(3000);
    const worker = start();
    await complete();
    const troubles = (): number => worker.stderr.match(/trying again/g)?.length ?? 0;
    for (const signal of ["SIGQUIT", "SIGINT"] as const) {
      const before = troubles();
      const producing = produce(20_000);
      await sleep(300);
      await server.stop(signal);
      await producing;
      await expect.poll(troubles, patiently).toBeGreaterThan(before);
      await server.start();
      await complete();
    }
    expect(worker.stderr).toMatch(/writing goes on/);
    expect((await worker.end("SIGTERM")).code).toBe(0);
  }, 300_000);

  test("the database's disk is full for a while", async ({ skip }) => {
    const disk = mountSmall(64);
    if ("missing" in disk) return skip(disk.missing);
    const ballast = join(disk.dir, "ballast");
    try {
      server.own(disk.dir);
      await server.query(`CREATE TABLESPACE small LOCATION '${disk.dir}/tables'`);
      await server.query(`ALTER DATABASE ${database} SET TABLESPACE small`);
      await produce(1000);
      const worker = start();
      await complete();
      const { bavail, bsize } = statfsSync(disk.dir);
      writeFileSync(ballast, Buffer.alloc((bavail - 256) * bsize, 1));
      await produce(20_000);
      await expect.poll(() => worker.stderr, patiently).toMatch(/No space left.*; trying again/);
      await produce(1000);
      rmSync(ballast);
      await complete();
      expect((await worker.end("SIGTERM")).code).toBe(0);
    } finally {
      await server.query(`ALTER DATABASE ${database} SET TABLESPACE pg_default`);
      await server.query("DROP TABLESPACE small");
      disk.unmount();
    }
  }, 240_000);

  test("the gateway is restarted under it", async () => {
    await produce(2000);
    const worker = start();
    await complete();
    await producer.close(true);
    await gateway.kill();
    await expect.poll(() => worker.stderr, patiently).toMatch(/trying again/);
    await gateway.start();
    connect();
    await produce(2000);
    await complete();
    expect((await worker.end("SIGTERM")).code).toBe(0);
  }, 300_000);

  test("bad rows go to positions.dlq, and are put back once", async () => {
    const bad = (seq: number): boolean => seq % 100 === 50;
    await produce(1);
    const first = start();
    await complete();
    await select("ALTER TABLE positions ADD CONSTRAINT short CHECK (length(trip) < 9)");
    await produce(500, (seq) => ({ trip: bad(seq) ? "much too long" : "short" }));
    const count = async () => (await select("SELECT count(*)::int AS n FROM positions"))[0].n;
    await expect.poll(count, patiently).toBe(496);
    const consumed = await milepost([
      "consume",
      "positions.dlq",
      "-e",
      "--json",
      "--server",
      kafka(),
    ]);
    const letters = consumed.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(letters).toHaveLength(5);
    for (const { headers, value, key } of letters) {
      const of = Object.fromEntries(headers);
      expect(Object.keys(of)).toEqual(["reason", "topic", "partition", "offset"]);
      expect(of).toMatchObject({
        topic,
        reason: expect.stringMatching(/23514.*short/),
      });
      expect(bad(JSON.parse(value).seq)).toBe(true);
      expect(JSON.parse(value).id).toBe(key);
    }
    expect((await first.end("SIGTERM")).stderr).toContain("5 dead letters");
    const status = await milepost(["sink", "status", "--json", "--server", kafka()]);
    const { sinks } = JSON.parse(status.stdout);
    const own = sinks.find((sink: { group: string }) => sink.group === group);
    expect(own).toMatchObject({ deadLettered: 5, lag: 0 });
    const replay = async () => {
      const words = ["sink", "replay-dlq", "--url", url(), "--server", kafka(), "--json"];
      const { code, stdout } = await milepost(words);
      return { code, ...JSON.parse(stdout) };
    };
    const refused = await replay();
    expect(refused).toMatchObject({ code: 0, written: 0, there: 0 });
    expect(refused.failed).toHaveLength(5);
    await select("ALTER TABLE positions DROP CONSTRAINT short");
    expect(await replay()).toMatchObject({ written: 5, there: 0, failed: [] });
    expect(await replay()).toMatchObject({ written: 0, there: 5, failed: [] });
    await complete();
  }, 240_000);

  test("what cannot work is said at once, with exit code 1", async () => {
    await produce(10);
    const words = ["sink", "postgres", "--server", kafka(), "--topics", topic, "--url"];
    const missing = await milepost([...words, url()]);
    expect(missing).toMatchObject({ code: 1, stdout: "" });
    expect(missing.stderr).toMatch(/there is no table positions.*--create-schema/);
    const wrong = await milepost([...words, server.urlOf(database, "postgres", "no")]);
    expect(wrong).toMatchObject({ code: 1 });
    expect(wrong.stderr).toMatch(/password/);
    const worker = start();
    await complete();
    await select("ALTER TABLE positions DROP COLUMN accuracy");
    await produce(10);
    const { code, stderr } = await worker.outcome;
    expect(code).toBe(1);
    expect(stderr).toMatch(/accuracy/);
  }, 180_000);
});
