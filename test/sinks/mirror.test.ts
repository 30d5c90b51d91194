/** `milepost sink kafka` from one gateway into another. `KILLS=200 SEED=1` makes it longer. */
import { type ChildProcess, spawn } from "node:child_process";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { BatchBuilder } from "../../src/batch/builder.ts";
import type { Mirror } from "../../src/sinks/mirror.ts";
import type { DeadLetter } from "../../src/sinks/target.ts";
import { milepost, RunningCommand } from "../cli/run.ts";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { noLetters } from "./slices.ts";
import {
  countOf,
  expectMirrored,
  mirrorTo,
  partitions,
  readAll,
  SourceReader,
  wanted,
  withAdmin,
  writeAtOnce,
  Writer,
} from "./mirror-harness.ts";

const patiently = { timeout: 60_000, interval: 100 };
const kills = Number(process.env.KILLS ?? 3);
const rounds = Math.ceil(kills / 10);
const seed = Number(process.env.SEED ?? Date.now() % 100_000);

let source: Gateway;
let target: Gateway;
let from = "";
let to = "";
let topic = "";
let tests = 0;
let writer: Writer;

beforeAll(async () => {
  [source, target] = await Promise.all([startGateway(), startGateway()]);
  [from, to] = [source, target].map(({ ports }) => `127.0.0.1:${ports.kafka}`);
}, 60_000);
beforeEach(async () => {
  topic = `t${++tests}`;
  await withAdmin(from, (admin) => admin.createTopics({ topics: [topic], partitions }));
  writer = new Writer(source.ports.kafka, topic, seed);
  return async () => writer.close();
});
afterAll(async () => {
  await Promise.all([source?.stop(), target?.stop()]);
});

function sink(...more: string[]): RunningCommand {
  const words = ["--server", from, "--brokers", to, "--topics", topic, "--group", `g-${topic}`];
  return new RunningCommand(["sink", "kafka", ...words, ...more]);
}

const newMirror = (): Mirror => mirrorTo(from, to);

/** Everything that is there, into the target. */
async function mirrorAll(mirror: Mirror, bury = noLetters): Promise<void> {
  const reader = new SourceReader(from, topic);
  const next = (await mirror.open(wanted(topic))).map((one) => one.next);
  for (;;) {
    const slices = await reader.slices(next);
    if (slices.length === 0) break;
    expect((await mirror.write(slices, bury)).lost).toEqual([]);
    for (const { partition, end } of slices) next[partition] = end;
  }
  await reader.close();
}

test(`records are the same but for one header, and follow; seed ${seed}`, async () => {
  await withAdmin(from, (admin) =>
    admin.incrementalAlterConfigs({
      resources: [
        {
          resourceType: 2,
          resourceName: topic,
          configs: [{ name: "retention.ms", value: "7654321", configOperation: 0 }],
        },
      ],
    }),
  );
  await writer.write(60);
  const worker = sink("--admin-port", "0");
  const total = () => countOf(from, topic);
  await expect.poll(() => countOf(to, topic), patiently).toBe(await total());
  await writer.write(5);
  await expect.poll(() => countOf(to, topic), patiently).toBe(await total());
  const described = await withAdmin(to, (admin) =>
    admin.describeConfigs({
      resources: [{ resourceType: 2, resourceName: topic, configurationKeys: ["retention.ms"] }],
    }),
  );
  expect(described[0].configs).toMatchObject([{ name: "retention.ms", value: "7654321" }]);
  const status = await milepost(["sink", "status", "--json", "--server", from]);
  expect(JSON.parse(status.stdout).sinks).toMatchObject([{ group: `g-${topic}`, workers: 1 }]);
  expect(await worker.end("SIGTERM")).toMatchObject({ code: 0, stdout: "" });
  await expectMirrored(from, to, topic);
  expect((await readAll(to, topic)).flat().every(({ producer }) => producer >= 0)).toBe(true);
}, 90_000);

test(
  `kill -9, ${kills} times: each record once`,
  async () => {
    await writer.write(30);
    const program = new URL("./mirror-child.ts", import.meta.url).pathname;
    let child: ChildProcess | null = null;
    const end = async (): Promise<void> => {
      const ended = new Promise((resolve) => child?.once("exit", resolve));
      child?.kill("SIGKILL");
      await ended;
    };
    for (let kill = 0; kill < kills; kill++) {
      const words = [program, from, to, topic];
      child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
      const opened = new Promise((resolve) => child?.stdout?.once("data", resolve));
      await writer.write(6);
      await opened;
      const writing = writer.write(10);
      await new Promise((resolve) => setTimeout(resolve, (kill * 7919 + seed) % 60));
      await end();
      await writing;
    }
    const mirror = newMirror();
    await mirrorAll(mirror);
    await mirror.close();
    await expectMirrored(from, to, topic);
  },
  kills * 10_000,
);

test("two that have the same partitions at once write each record once", async () => {
  await writer.write(200);
  await writeAtOnce(from, to, topic);
  await expectMirrored(from, to, topic);
}, 60_000);

test("workers come and go under load, and each record is there once", async () => {
  const until = (worker: RunningCommand, text: RegExp): Promise<void> =>
    expect.poll(() => worker.stderr, patiently).toMatch(text) as never;
  let isOver = false;
  const load = (async () => {
    while (!isOver) await writer.write(5);
  })();
  let worker = sink();
  await until(worker, /has 3 partitions/);
  for (let round = 0; round < rounds; round++) {
    const next = sink();
    await until(next, /has [12] partitions/);
    expect(await worker.end("SIGTERM")).toMatchObject({ code: 0 });
    await until(next, /has 3 partitions/);
    worker = next;
  }
  isOver = true;
  await load;
  const total = await countOf(from, topic);
  await expect.poll(() => countOf(to, topic), patiently).toBe(total);
  expect(await worker.end("SIGTERM")).toMatchObject({ code: 0 });
  await expectMirrored(from, to, topic);
}, 90_000);

test("the target goes away and comes back", async () => {
  await writer.write(10);
  const worker = sink();
  await expect.poll(() => worker.stderr, patiently).toMatch(/has 3 partitions/);
  await target.kill();
  await writer.write(30);
  await expect.poll(() => worker.stderr, patiently).toMatch(/writing: .*trying again/);
  await target.start();
  await writer.write(10);
  const total = await countOf(from, topic);
  await expect.poll(() => countOf(to, topic), patiently).toBe(total);
  expect(await worker.end("SIGTERM")).toMatchObject({ code: 0 });
  await expectMirrored(from, to, topic);
}, 90_000);

test("what the target cannot take is buried, and the rest goes on", async () => {
  await withAdmin(to, (admin) =>
    admin.createTopics({
      topics: [topic],
      partitions: partitions + 1,
      configs: [{ name: "max.message.bytes", value: "20000" }],
    }),
  );
  await writer.write(10);
  const builder = new BatchBuilder();
  for (const size of [10, 30_000, 20, 19_990, 5]) {
    builder.append(null, 0, 0, Buffer.alloc(size, "v"), 0, size, Date.now(), null);
  }
  builder.seal();
  const [before] = await readAll(from, topic);
  await writer.send(0, builder.sealed());
  await writer.write(10);
  const buried: DeadLetter[] = [];
  const mirror = newMirror();
  await mirrorAll(mirror, async (letters) => void buried.push(...letters));
  await mirror.close();
  const lost = [before.length + 1, before.length + 3];
  expect(buried).toMatchObject(
    lost.map((offset) => ({
      topic,
      partition: 0,
      offset,
      reason: expect.stringContaining("MESSAGE_TOO_LARGE") as string,
    })),
  );
  await expectMirrored(
    from,
    to,
    topic,
    lost.map((offset) => `0/${offset}`),
  );
}, 60_000);

test("a target that cannot be gone on with is said, with what to do", async () => {
  await writer.write(10);
  const mirror = newMirror();
  await mirrorAll(mirror);
  await mirror.close();
  const ends = (await readAll(from, topic)).map((records) => records.length);
  // an older copy of the source
  const admin = await milepost(["topics", "delete", topic, "--server", adminOf(source), "--yes"]);
  expect(admin).toMatchObject({ code: 0 });
  await withAdmin(from, (a) => a.createTopics({ topics: [topic], partitions }));
  const older = await sink().outcome;
  expect(older.code).toBe(1);
  expect(older.stderr).toMatch(
    /ends at 0, and there are rows up to \d+.* delete topic t\d+ in the/,
  );
  // somebody else's records, a few of them, are looked behind
  const foreign = new Writer(target.ports.kafka, topic, seed);
  const builder = new BatchBuilder();
  builder.append(null, 0, 0, Buffer.from("v"), 0, 1, Date.now(), null);
  builder.seal();
  for (let i = 0; i < 20; i++) await foreign.send(0, builder.sealed());
  const behind = newMirror();
  expect((await behind.open(wanted(topic))).map(({ next }) => next)).toEqual(ends);
  await behind.close();
  // nothing of ours at all, and too few partitions
  const strange = `${topic}-strange`;
  await withAdmin(from, (a) => a.createTopics({ topics: [strange], partitions: 2 }));
  await withAdmin(to, (a) => a.createTopics({ topics: [strange], partitions: 1 }));
  const words = ["sink", "kafka", "--server", from, "--brokers", to, "--topics", strange];
  const few = await milepost(words);
  expect(few).toMatchObject({ code: 1 });
  expect(few.stderr).toContain("has 2 partitions here and 1 in the target");
  await withAdmin(to, (a) =>
    a.createPartitions({ topics: [{ name: strange, count: 2, assignments: null as never }] }),
  );
  const other = new Writer(target.ports.kafka, strange, seed);
  await other.send(1, builder.sealed());
  const unknown = await milepost(words);
  expect(unknown).toMatchObject({ code: 1 });
  expect(unknown.stderr).toContain("have no header milepost-offset");
  await Promise.all([foreign.close(), other.close()]);
}, 90_000);

test("a wrong command line is told", async () => {
  const cases = [
    [["sink", "kafka"], "--brokers"],
    [["sink", "kafka", "--brokers", "nowhere"], "kafka-1:9092"],
    [["sink", "kafka", "--brokers", "a:1", "--every", "10s"], "--every"],
  ] as const;
  for (const [words, said] of cases) {
    const { code, stderr } = await milepost([...words]);
    expect(code).toBe(2);
    expect(stderr).toContain(said);
  }
});

function adminOf(gateway: Gateway): string {
  return `127.0.0.1:${gateway.ports.admin}`;
}
