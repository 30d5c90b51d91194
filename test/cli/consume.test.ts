import { spawn } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { launcher, milepost, RunningCommand } from "./run.ts";
import { TestTopics } from "./topic.ts";

// each command loads the client anew, which takes a second of a busy machine
const slow = 60_000;

let gateway: Gateway;
let topics: TestTopics;
beforeAll(async () => {
  gateway = await startGateway();
  topics = new TestTopics(gateway.ports.kafka);
}, slow);
afterAll(async () => {
  await topics.close();
  await gateway.stop();
});

const server = (): string[] => ["--server", `127.0.0.1:${gateway.ports.kafka}`];
const consume = (topic: string, ...args: string[]) =>
  milepost(["consume", topic, ...args, ...server()]);
const follow = (topic: string, ...args: string[]) =>
  new RunningCommand(["consume", topic, ...args, ...server()]);
const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => String(from + i));
const text = (lines: string[]): string => lines.map((line) => `${line}\n`).join("");
const clockTick = async (): Promise<number> => {
  const before = Date.now();
  while (Date.now() === before) await new Promise((resolve) => setTimeout(resolve, 1));
  return Date.now();
};

test(
  "what is there, a line each",
  async () => {
    await topics.write("lines", ["plain", "", "two\nlines", "null"], 2);
    const values = await consume("lines", "-e");
    expect(values).toEqual({
      code: 0,
      stdout: 'plain\n\n"two\\nlines"\n"null"\n',
      stderr: "",
    });
    const { stdout } = await consume("lines", "-e", "--json", "--count", "1");
    expect(JSON.parse(stdout)).toEqual({
      topic: "lines",
      partition: 2,
      offset: 0,
      timestamp: expect.any(Number),
      key: null,
      value: "plain",
      headers: [],
    });
  },
  slow,
);

test(
  "everything of all partitions, however much it is",
  async () => {
    for (const partition of [0, 1, 2, 3]) {
      for (let i = 0; i < 5; i++) {
        const base = partition * 100_000 + i * 5000;
        await topics.write("much", numbers(base, base + 5000), partition);
      }
    }
    const { code, stdout } = await consume("much", "-e");
    expect(code).toBe(0);
    const found = stdout.split("\n").slice(0, -1).map(Number);
    const expected = [0, 1, 2, 3].flatMap((p) => numbers(p * 100_000, p * 100_000 + 25_000));
    expect(found.toSorted((a, b) => a - b)).toEqual(expected.map(Number));
    // of one partition in order
    const first = found.filter((n) => n < 100_000);
    expect(first).toEqual(first.toSorted((a, b) => a - b));
  },
  slow,
);

test(
  "where to begin and to end",
  async () => {
    await topics.write("places", numbers(0, 100));
    const after = await clockTick();
    await topics.write("places", numbers(100, 150));
    await topics.write("places", ["elsewhere"], 2);
    const zero = ["-e", "--partition", "0"];
    const iso = new Date(after).toISOString();
    const cases: [string[], string[]][] = [
      [["-e", "--partition", "2"], ["elsewhere"]],
      [["-e", "--from", "latest"], []],
      [["--from", "140", ...zero], numbers(140, 150)],
      // beyond the end: what comes would be next
      [["--from", "9999", ...zero], []],
      [["--from", `@${after}`, ...zero], numbers(100, 150)],
      [["--from", `@${iso}`, ...zero, "--count", "3"], numbers(100, 103)],
      [["--from", "@2036-01-01", "-e"], []],
      [["--from", "earliest", "--partition", "0", "--count", "7"], numbers(0, 7)],
    ];
    const outcomes = await Promise.all(cases.map(([args]) => consume("places", ...args)));
    expect(outcomes.map(({ code, stdout }) => [code, stdout])).toEqual(
      cases.map(([, lines]) => [0, text(lines)]),
    );
  },
  slow,
);

test(
  "by default it waits for what comes, until Ctrl-C",
  async () => {
    await topics.write("live", ["old"]);
    const consumer = follow("live");
    // it has begun once it prints what is written while it runs
    for (let n = 0; consumer.lines.length === 0; n++) await topics.write("live", [`new ${n}`]);
    await topics.write("live", ["last"], 3);
    await consumer.until((lines) => lines.includes("last"));
    expect(consumer.lines).not.toContain("old");
    expect(await consumer.end("SIGINT")).toMatchObject({ code: 0, stderr: "" });
  },
  slow,
);

test(
  "a reader that has seen enough ends it quietly",
  async () => {
    for (let i = 0; i < 10; i++) await topics.write("seen", numbers(i * 5000, i * 5000 + 5000));
    const line = `"$0" "$1" consume seen --from earliest --server "$2" | head -2`;
    const args = ["-c", line, process.execPath, launcher, server()[1]];
    const shell = spawn("sh", args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    shell.stdout.on("data", (chunk) => (output += chunk));
    shell.stderr.on("data", (chunk) => (output += chunk));
    await new Promise((resolve) => shell.on("close", resolve));
    expect(output).toBe("0\n1\n");
  },
  slow,
);

test(
  "topics and partitions that are not there, and no gateway",
  async () => {
    await topics.write("four", ["x"]);
    const [partition, missing, internal, nobody] = await Promise.all([
      consume("four", "-e", "--partition", "4"),
      consume("nowhere", "-e"),
      consume("__consumer_offsets", "-e"),
      milepost(["consume", "t", "--server", "127.0.0.1:1"]),
    ]);
    expect([partition.code, partition.stderr]).toEqual([
      2,
      "milepost: --partition: four has partitions 0 to 3\n",
    ]);
    expect(missing.stderr).toMatch(/^milepost: no such topic: nowhere; /);
    expect(internal.stderr).toContain("internal topics are not for clients");
    expect(nobody.stderr).toContain("no gateway answers at 127.0.0.1:1 (ECONNREFUSED)");
    expect([missing.code, internal.code, nobody.code]).toEqual([1, 1, 1]);
  },
  slow,
);

test(
  "records that retention took meanwhile are passed over, and it is said",
  async () => {
    await topics.write("short", numbers(0, 100));
    const consumer = follow("short", "--from", "earliest", "--partition", "0");
    await consumer.until((lines) => lines.length === 100);
    consumer.child.kill("SIGSTOP");
    await topics.write("short", numbers(100, 200));
    await topics.deleteBefore("short", 0, 150);
    consumer.child.kill("SIGCONT");
    await consumer.until((lines) => lines.includes("199"));
    await topics.write("short", ["last"]);
    await consumer.until((lines) => lines.includes("last"));
    const { stderr } = await consumer.end("SIGINT");
    // what had been asked for before may have been answered in time
    if (!consumer.lines.includes("100")) expect(stderr).toContain("short/0 has no offset 100");
    expect(consumer.lines.slice(-51)).toEqual([...numbers(150, 200), "last"]);
  },
  slow,
);

test(
  "a topic that is deleted meanwhile ends it",
  async () => {
    await topics.write("doomed", ["x"]);
    const consumer = follow("doomed", "--from", "earliest");
    await consumer.until((lines) => lines.length === 1);
    await topics.delete("doomed");
    const { code, stderr } = await consumer.outcome;
    expect([code, stderr]).toEqual([1, expect.stringMatching(/^milepost: doomed.*(gone|topic)/)]);
  },
  slow,
);

test(
  "it goes on when the gateway is killed and comes back",
  async () => {
    await topics.write("survivor", numbers(0, 1000));
    const consumer = follow("survivor", "--from", "earliest");
    await consumer.until((lines) => lines.length === 1000);
    await gateway.kill();
    await gateway.start();
    await topics.write("survivor", numbers(1000, 2000));
    await consumer.until((lines) => lines.length >= 2000);
    expect(consumer.lines).toEqual(numbers(0, 2000));
    const { code, stderr } = await consumer.end("SIGTERM");
    expect(code).toBe(0);
    expect(stderr).toMatch(/^milepost: no answer \(.*\); trying again\n$/);
  },
  slow,
);
