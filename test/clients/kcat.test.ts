/** kcat, unchanged, as apt brings it. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { howToAdd, missing, parts } from "../setup/parts.ts";
import { fresh, isKafka, ownPartition, startBroker, text, type Broker } from "./broker.ts";
import { consume, kcat, KcatMember, produce } from "./kcat.ts";

const patiently = { timeout: 20_000, interval: 50 };
const absent = missing("kcat");
let broker: Broker;
beforeAll(async () => {
  if (!absent) broker = await startBroker();
});
afterAll(() => broker?.stop());

/** `prefix-i:prefix i`, keys that repeat. */
function lines(prefix: string, count: number, keys = 20): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}-${i % keys}:${prefix} ${i}`);
}

const all = ["-o", "beginning", "-e"];

describe.skipIf(absent)(absent ? `kcat (${howToAdd(parts.kcat)})` : "kcat", () => {
  test("-L tells the broker and the topics", async () => {
    const topic = fresh("listed");
    await produce(broker.address, topic, ["k:v"]);
    const listed = await kcat(broker.address, ["-L", "-J"]);
    const { brokers, topics } = JSON.parse(String(listed.stdout));
    expect(brokers).toEqual([{ id: 1, name: broker.address }]);
    const found = topics.find((t: { topic: string }) => t.topic === topic);
    expect(found.partitions).toHaveLength(4);
    const first = { partition: 0, leader: 1, replicas: [{ id: 1 }], isrs: [{ id: 1 }] };
    expect(found.partitions[0]).toEqual(first);
  });

  test.skipIf(isKafka)("-L shows the topics of pings", async () => {
    const listed = String((await kcat(broker.address, ["-L"])).stdout);
    expect(listed).toContain('topic "positions" with 16 partitions:');
    expect(listed).toContain('topic "events" with 4 partitions:');
  });

  test.each(["none", "gzip", "snappy", "lz4", "zstd"])(
    "-P -z %s, -C gives it back",
    async (codec) => {
      const topic = fresh(codec);
      const sent = lines("driver", 500);
      await produce(broker.address, topic, sent, ["-z", codec, "-X", "partitioner=murmur2_random"]);
      const got = await consume(broker.address, topic, all);
      expect(got.map((r) => `${text(r.key)}:${text(r.value)}`).sort()).toEqual([...sent].sort());
      for (const key of new Set(got.map((r) => text(r.key) as string))) {
        const ofKey = got.filter((r) => text(r.key) === key);
        expect(new Set(ofKey.map((r) => r.partition))).toEqual(new Set([ownPartition(key, 4)]));
        expect(ofKey.map((r) => `${key}:${text(r.value)}`)).toEqual(
          sent.filter((line) => line.startsWith(`${key}:`)),
        );
      }
    },
  );

  test.each(["0", "1", "all"])("-P with acks=%s", async (acks) => {
    const topic = fresh(`acks-${acks}`);
    const sent = lines("a", 100);
    await produce(broker.address, topic, ["first:made"]);
    await produce(broker.address, topic, sent, ["-X", `acks=${acks}`]);
    await expect
      .poll(async () => (await consume(broker.address, topic, all)).length, patiently)
      .toBe(sent.length + 1);
  });

  test("-P with an idempotent producer: each once, in order", async () => {
    const topic = fresh("idempotent");
    const sent = lines("i", 2000);
    const small = ["-X", "enable.idempotence=true", "-X", "batch.num.messages=50"];
    await produce(broker.address, topic, sent, ["-p", "2", ...small]);
    const got = await consume(broker.address, topic, all);
    expect(got.map((r) => `${text(r.key)}:${text(r.value)}`)).toEqual(sent);
    expect(got.map((r) => r.offset)).toEqual(sent.map((_, i) => i));
  });

  test("null keys, tombstones, headers and any bytes come back as they went", async () => {
    const topic = fresh("bytes");
    const headers = ["-H", "a=1", "-H", "empty=", "-H", "none", "-H", "a=2"];
    await produce(broker.address, topic, ["gone:"], ["-p", "0", "-Z", ...headers]);
    const odd = Buffer.from([0, 1, 2, 127, 128, 255, 13, 34]);
    await kcat(broker.address, ["-P", "-t", topic, "-p", "0"], odd);
    const got = await consume(broker.address, topic, all);
    expect(got.map(({ key, value, headers: h }) => ({ key, value, headers: h }))).toEqual([
      {
        key: Buffer.from("gone"),
        value: null,
        headers: [
          ["a", Buffer.from("1")],
          ["empty", Buffer.from("")],
          ["none", null],
          ["a", Buffer.from("2")],
        ],
      },
      { key: null, value: odd, headers: [] },
    ]);
  });

  describe("-C from somewhere", () => {
    const topic = fresh("somewhere");
    let timestamps: number[] = [];
    beforeAll(async () => {
      for (let round = 0; round < 5; round++) {
        await produce(broker.address, topic, lines(`r${round}`, 20), ["-p", "1"]);
      }
      timestamps = (await consume(broker.address, topic, all)).map((r) => r.timestamp);
      expect(timestamps).toHaveLength(100);
    });
    const offsets = async (...args: string[]): Promise<number[]> =>
      (await consume(broker.address, topic, ["-p", "1", ...args])).map((r) => r.offset);
    const from = (first: number, end = 100): number[] =>
      Array.from({ length: end - first }, (_, i) => first + i);
    const firstAt = (timestamp: number): number => timestamps.findIndex((t) => t >= timestamp);

    test("an offset", async () => {
      expect(await offsets("-o", "37", "-e")).toEqual(from(37));
      expect(await offsets("-o", "37", "-c", "3")).toEqual([37, 38, 39]);
    });

    test("the end, less some", async () => {
      expect(await offsets("-o", "-5", "-e")).toEqual(from(95));
      expect(await offsets("-o", "end", "-e")).toEqual([]);
    });

    test("a time, to a time", async () => {
      const middle = timestamps[50];
      const first = firstAt(middle);
      expect(await offsets("-o", `s@${middle}`, "-e")).toEqual(from(first));
      expect(await offsets("-o", `s@${timestamps[0]}`, "-o", `e@${middle}`)).toEqual(
        from(0, first),
      );
      expect(await offsets("-o", `s@${timestamps[99] + 1}`, "-e")).toEqual([]);
    });

    test("-Q tells the offset of a time", async () => {
      const ask = async (timestamp: number): Promise<string> =>
        String((await kcat(broker.address, ["-Q", "-t", `${topic}:1:${timestamp}`])).stdout);
      expect(await ask(timestamps[70])).toContain(`[1] offset ${firstAt(timestamps[70])}\n`);
      expect(await ask(-2)).toContain("[1] offset 0\n");
      expect(await ask(-1)).toContain("[1] offset 100\n");
    });

    test("an offset that is not there is an error, not an end", async () => {
      const where = ["-C", "-t", topic, "-p", "1", "-o", "5000", "-e"];
      const ended = await kcat(broker.address, [...where, "-X", "auto.offset.reset=error"]);
      expect(ended.stderr).toContain("Broker: Offset out of range");
      expect(ended.code).toBe(1);
    });
  });

  describe("what is refused says why", () => {
    test("a topic that is not there", async () => {
      const quietly = ["-X", "allow.auto.create.topics=false"];
      const ended = await kcat(broker.address, ["-C", "-t", fresh("none"), "-e", ...quietly]);
      expect(ended.stderr).toContain("Broker: Unknown topic or partition");
      expect(ended.code).toBe(1);
    });

    test("a name that no topic can have", async () => {
      const ended = await kcat(broker.address, ["-P", "-t", "no topic/of mine"], "x\n");
      expect(ended.stderr).toContain("Broker: Invalid topic");
    });

    test("a message that is too large", async () => {
      const large = Buffer.alloc(1_500_000, 97);
      const more = ["-X", "message.max.bytes=3000000"];
      const ended = await kcat(broker.address, ["-P", "-t", fresh("large"), ...more], large);
      expect(ended.stderr).toContain("Broker: Message size too large");
    });

    test.skipIf(isKafka)("the gateway's own topics", async () => {
      const ended = await kcat(broker.address, ["-P", "-t", "__consumer_offsets"], "x\n");
      expect(ended.stderr).toContain("Broker: Topic authorization failed");
    });

    test.skipIf(isKafka)("a transaction", async () => {
      const args = ["-P", "-t", fresh("txn"), "-X", "transactional.id=t", "-m", "3"];
      const ended = await kcat(broker.address, args, "x\n");
      expect(ended.code).toBe(1);
      expect(ended.stderr).toContain("transactions are not served");
    });
  });

  describe("-G", () => {
    const members: KcatMember[] = [];
    afterAll(() => Promise.all(members.map((member) => member.end("SIGKILL"))));
    const join = (group: string, topic: string, properties: string[] = []): KcatMember => {
      const member = new KcatMember(broker.address, group, topic, properties);
      members.push(member);
      return member;
    };
    /** Both own something, all is owned, nothing twice. */
    const shared = (a: KcatMember, b: KcatMember) => () => {
      const [ofA, ofB] = [a.partitions() ?? [], b.partitions() ?? []];
      const split = ofA.length === 2 && ofB.length === 2;
      return split && [...ofA, ...ofB].sort().join() === "0,1,2,3";
    };
    const values = (...from: KcatMember[]): string[] =>
      from.flatMap((member) => member.lines().map((line) => line.split(" ").slice(3).join(" ")));

    test("two members share; when one leaves, the other goes on where it stopped", async () => {
      const [group, topic] = [fresh("group"), fresh("shared")];
      await produce(broker.address, topic, lines("before", 100));
      const first = join(group, topic);
      await expect.poll(() => values(first).length, patiently).toBe(100);
      const second = join(group, topic);
      await expect.poll(shared(first, second), patiently).toBe(true);
      await produce(broker.address, topic, lines("both", 400));
      await expect.poll(() => values(first, second).length, patiently).toBe(500);
      expect(values(second).length).toBeGreaterThan(0);
      expect(await second.end("SIGTERM")).toBe(0);
      await expect.poll(() => first.partitions(), patiently).toEqual([0, 1, 2, 3]);
      await produce(broker.address, topic, lines("after", 200));
      await expect.poll(() => values(first, second).length, patiently).toBe(700);
      const sent = [...lines("before", 100), ...lines("both", 400), ...lines("after", 200)];
      const expected = sent.map((line) => line.slice(line.indexOf(":") + 1));
      expect(values(first, second).sort()).toEqual(expected.sort());
      expect(await first.end("SIGTERM")).toBe(0);
      const late = join(group, topic);
      await expect.poll(() => late.partitions(), patiently).toEqual([0, 1, 2, 3]);
      await produce(broker.address, topic, ["last:one"]);
      await expect.poll(() => values(late), patiently).toEqual(["one"]);
    });

    test("when one is killed, the other takes over and misses nothing", async () => {
      const [group, topic] = [fresh("group"), fresh("killed")];
      await produce(broker.address, topic, ["made:it"]);
      const often = ["auto.commit.interval.ms=100"];
      const first = join(group, topic, often);
      const second = join(group, topic, often);
      await expect.poll(shared(first, second), patiently).toBe(true);
      await produce(broker.address, topic, lines("both", 400));
      await expect.poll(() => values(first, second).length, patiently).toBe(401);
      await second.end("SIGKILL");
      await produce(broker.address, topic, lines("meanwhile", 200));
      await expect.poll(() => new Set(values(first, second)).size, patiently).toBe(601);
      expect(first.partitions()).toEqual([0, 1, 2, 3]);
      for (const member of [first, second]) {
        for (const partition of [0, 1, 2, 3]) {
          const offsets = member
            .lines()
            .map((line) => line.split(" ").map(Number))
            .filter(([p]) => p === partition)
            .map(([, offset]) => offset);
          expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
        }
      }
    });
  });
});
