import { afterAll, beforeAll, expect, test } from "vitest";
import { LineProducer } from "../../src/cli/line-producer.ts";
import { partitionOf } from "../../src/partitions/murmur2.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { milepost, RunningCommand } from "./run.ts";
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
const produce = (topic: string, input: string, ...args: string[]) =>
  milepost(["produce", topic, ...args, ...server()], { input });
const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => String(from + i));
const values = async (topic: string): Promise<string[]> =>
  (await topics.read(topic)).map(({ value }) => String(value));

test(
  "a line is a record, whatever is in it; a topic that is not there is made",
  async () => {
    const long = "long ".repeat(60_000);
    const lines = ["plain", "", "ünï", " tab\there ", "\r", long, "no line end"];
    const { code, stdout, stderr } = await produce("lines", lines.join("\n"), "--partition", "1");
    expect([code, stdout, stderr]).toEqual([0, "", "7 lines are in lines\n"]);
    const records = await topics.read("lines");
    expect(records.map(({ value }) => String(value))).toEqual(lines);
    expect(new Set(records.map(({ partition }) => partition))).toEqual(new Set([1]));
    expect(records[0]).toMatchObject({ key: null, headers: [] });
    expect((await produce("lines", "")).stderr).toBe("0 lines are in lines\n");
  },
  slow,
);

test(
  "keys and headers",
  async () => {
    const input = "a::1::2\n::x\nb::\n";
    const headers = ["--header", "h=1", "--header", "h2=a=b"];
    const separated = await produce("keys", input, "--key-separator", "::", ...headers);
    expect([separated.code, separated.stderr]).toEqual([0, "3 lines are in keys\n"]);
    expect((await produce("keys", "of k\n", "--key", "k")).code).toBe(0);
    const found = await topics.read("keys");
    const text = found.map(({ key, value, headers }) => {
      return [`${key}`, `${value}`, headers.map(([name, bytes]) => `${name}:${bytes}`)];
    });
    const both = ["h:1", "h2:a=b"];
    expect(text.toSorted()).toEqual(
      [
        ["", "x", both],
        ["a", "1::2", both],
        ["b", "", both],
        ["k", "of k", []],
      ].toSorted(),
    );
    for (const { key, partition } of found) {
      expect(partition).toBe(partitionOf(key as Uint8Array, 0, (key as Uint8Array).length, 4));
    }
  },
  slow,
);

test(
  "lines of a key keep their order; those without are spread",
  async () => {
    const lines = numbers(0, 20_000).map((n) => `${Number(n) % 7}:${n}`);
    expect((await produce("keyed", lines.join("\n"), "--key-separator", ":")).code).toBe(0);
    const byKey = Map.groupBy(await topics.read("keyed"), ({ key }) => Number(String(key)));
    expect(byKey.size).toBe(7);
    for (const [key, found] of byKey) {
      const expected = numbers(0, 20_000).filter((n) => Number(n) % 7 === key);
      expect(found.map(({ value }) => String(value))).toEqual(expected);
    }
    expect((await produce("unkeyed", numbers(0, 30_000).join("\n"))).code).toBe(0);
    const found = await topics.read("unkeyed");
    expect(found.map(({ value }) => Number(value)).toSorted((a, b) => a - b)).toEqual(
      numbers(0, 30_000).map(Number),
    );
    expect(new Set(found.map(({ partition }) => partition)).size).toBe(4);
  },
  slow,
);

test(
  "what cannot go in is said, with how many lines are in",
  async () => {
    const unkeyed = await produce("refused", "a:1\nb:2\nc\nd:4\n", "--key-separator", ":");
    expect([unkeyed.code, unkeyed.stderr]).toEqual([
      1,
      'milepost: line 3 has no ":" in it; 2 lines are in refused\n',
    ]);
    const large = `fine\n${"x".repeat(1_100_000)}\nafter\n`;
    const refused = await produce("large", large, "--partition", "3");
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/line 2 with its 1100000 bytes .*; 1 line is in large\n$/);
    expect(await values("large")).toEqual(["fine"]);
    const range = await produce("large", "x\n", "--partition", "4");
    expect([range.code, range.stderr]).toEqual([
      2,
      "milepost: --partition: large has partitions 0 to 3\n",
    ]);
  },
  slow,
);

test(
  "a topic that takes nothing, one that cannot be, and no gateway",
  async () => {
    const internal = await produce("__consumer_offsets", "x\n");
    expect(internal.code).toBe(1);
    expect(internal.stderr).toContain("__consumer_offsets: internal topics are not for clients");
    const named = await produce("not a name", "x\n");
    expect([named.code, named.stdout]).toEqual([1, ""]);
    expect(named.stderr).toMatch(/^milepost: not a name: .*INVALID_TOPIC/);
    const nobody = await milepost(["produce", "t", "--server", "127.0.0.1:1"], { input: "x\n" });
    expect(nobody.code).toBe(1);
    expect(nobody.stderr).toContain("no gateway answers at 127.0.0.1:1 (ECONNREFUSED)");
  },
  slow,
);

test(
  "Ctrl-C sends what was read, and says so",
  async () => {
    const command = new RunningCommand(["produce", "typed", ...server()], { input: null });
    command.child.stdin?.write("one\ntwo\nhalf");
    while ((await values("typed").catch(() => [])).length < 2);
    const { code, stderr } = await command.end("SIGINT");
    expect([code, stderr]).toEqual([1, "milepost: interrupted; 2 lines are in typed\n"]);
  },
  slow,
);

test(
  "each line is in once when the gateway is killed meanwhile and comes back",
  async () => {
    const args = ["produce", "survivor", "--key-separator", ":", ...server()];
    const command = new RunningCommand(args, { input: null });
    const feed = (from: number, to: number): void => {
      const lines = numbers(from, to).map((n) => `${Number(n) % 5}:${n}\n`);
      command.child.stdin?.write(lines.join(""));
    };
    feed(0, 1000);
    while ((await values("survivor").catch(() => [])).length === 0);
    feed(1000, 50_000);
    await gateway.kill();
    feed(50_000, 60_000);
    await gateway.start();
    command.child.stdin?.end();
    const { code, stderr } = await command.outcome;
    expect([code, stderr]).toEqual([0, "60 000 lines are in survivor\n"]);
    const found = (await values("survivor")).map(Number).toSorted((a, b) => a - b);
    expect(found).toEqual(numbers(0, 60_000).map(Number));
  },
  2 * slow,
);

test("a gateway that does not come back", async () => {
  const { kafka: port } = gateway.ports;
  const to = { partitions: 4, partition: 0, headers: [] };
  const options = { clientId: "test", bootstrapBrokers: [{ host: "127.0.0.1", port }] };
  const patience = { autocreateTopics: true, retries: 2, retryDelay: 10 };
  const producer = new LineProducer({ ...options, ...patience }, "lost", to);
  const add = (line: number) => producer.add({ line, key: undefined, value: Buffer.from("x") });
  await add(1);
  await producer.flush();
  await gateway.kill();
  await add(2);
  await add(3);
  await expect(producer.flush()).rejects.toThrow();
  expect([producer.acked, producer.unknown]).toEqual([1, 2]);
  // nothing goes in behind what may be missing
  await expect(add(4)).rejects.toThrow();
  await producer.close();
});
