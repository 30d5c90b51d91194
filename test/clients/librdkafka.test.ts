/** librdkafka, unchanged, as apt brings it, through its C API. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { howToAdd, missing, parts } from "../setup/parts.ts";
import { fresh, isKafka, ownPartition, startBroker, text, type Broker } from "./broker.ts";
import { build, closeAll, Librdkafka, type Place } from "./librdkafka.ts";

const patiently = { timeout: 20_000, interval: 20 };
const absent = missing("librdkafka");
const murmur2 = { partitioner: "murmur2_random" };
let broker: Broker;
let admin: Librdkafka;
beforeAll(async () => {
  if (absent) return;
  build();
  broker = await startBroker();
}, 60_000);
beforeEach(() => {
  if (!absent) admin = new Librdkafka("producer", broker.address);
});
afterEach(closeAll);
afterAll(() => broker?.stop());

const producer = (properties: Record<string, string | number | boolean> = {}): Librdkafka =>
  new Librdkafka("producer", broker.address, { "linger.ms": 1, ...murmur2, ...properties });
const consumer = (
  group: string,
  properties: Record<string, string | number | boolean> = {},
): Librdkafka =>
  new Librdkafka("consumer", broker.address, {
    "group.id": group,
    "auto.offset.reset": "earliest",
    "enable.auto.commit": false,
    "fetch.wait.max.ms": 50,
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 200,
    ...properties,
  });

async function topicOf(name: string, partitions: number, ...settings: string[]): Promise<string> {
  const topic = fresh(name);
  const made = await admin.must("createTopic", topic, partitions, ...settings);
  expect(made.topics).toEqual([[topic, null]]);
  return topic;
}

/** `count` records, the i-th `prefix:i` under key `prefix-(i % 100)`: where each of them went. */
async function fill(
  from: Librdkafka,
  topic: string,
  count: number,
  prefix: string,
): Promise<[number, number][]> {
  await from.must("fill", topic, count, prefix);
  const { delivered } = await from.must("flush");
  expect(delivered).toHaveLength(count);
  const placed = Array<[number, number]>(count);
  for (const [index, partition, offset, error] of delivered) {
    expect(error).toBeNull();
    placed[index] = [partition, offset];
  }
  return placed;
}

/** What a consumer owns after all its rebalances. */
function owned(member: Librdkafka): number[] {
  let mine: number[] = [];
  for (const { event, protocol, partitions } of member.events) {
    const told = partitions.map(([, partition]) => partition);
    if (event === "assigned") mine = protocol === "EAGER" ? told : [...mine, ...told];
    else mine = mine.filter((partition) => !told.includes(partition));
  }
  return mine.sort((a, b) => a - b);
}

/** Keeps both polling, which is what carries rebalances, until they own this much. */
async function settle(members: Librdkafka[], ...sizes: number[]): Promise<void> {
  await expect
    .poll(async () => {
      for (const member of members) await member.poll(1, 20);
      return members.map((member) => owned(member).length).sort();
    }, patiently)
    .toEqual(sizes);
}

const offsetsOf = (places: Place[]): number[] => places.map(([, , offset]) => offset);

describe.skipIf(absent)(
  absent ? `librdkafka (${howToAdd(parts.librdkafka)})` : "librdkafka",
  () => {
    test.each(["none", "gzip", "snappy", "lz4", "zstd"])(
      "10 000 records of an idempotent producer, %s",
      async (codec) => {
        const topic = await topicOf(codec, 6);
        const from = producer({ "enable.idempotence": true, "compression.codec": codec });
        const placed = await fill(from, topic, 10_000, "x");
        const to = consumer(fresh("group"));
        await to.must("subscribe", topic);
        const got = await to.poll(10_000, 10_000);
        expect(got).toHaveLength(10_000);
        for (const { partition, offset, key, value } of got) {
          const index = Number((text(value) as string).slice(2));
          expect(text(key)).toBe(`x-${index % 100}`);
          expect([partition, offset]).toEqual(placed[index]);
          expect(partition).toBe(ownPartition(key as Buffer, 6));
        }
        const perPartition = Map.groupBy(got, (record) => record.partition);
        for (const records of perPartition.values()) {
          expect(records.map((r) => r.offset)).toEqual(records.map((_, i) => i));
        }
      },
    );

    test("any bytes, null keys, tombstones, headers and timestamps", async () => {
      const topic = await topicOf("bytes", 1);
      const from = producer();
      const odd = Buffer.from([0, 255, 10, 13, 128, 9]);
      await from.must("produce", topic, 0, odd, Buffer.alloc(0), 1_700_000_000_123, "a", odd);
      await from.must("produce", topic, 0, null, odd, 1_600_000_000_001, "a", null, "a", "");
      await from.must("produce", topic, 0, Buffer.alloc(0), null, 1_700_000_000_124);
      await from.must("flush");
      const to = consumer(fresh("group"));
      await to.must("assign", topic, 0, 0);
      const topicName = { topic, partition: 0 };
      const empty = Buffer.alloc(0);
      expect(await to.poll(3)).toEqual([
        {
          ...topicName,
          offset: 0,
          timestamp: 1_700_000_000_123,
          key: odd,
          value: empty,
          headers: [["a", odd]],
        },
        {
          ...topicName,
          offset: 1,
          timestamp: 1_600_000_000_001,
          key: null,
          value: odd,
          headers: [
            ["a", null],
            ["a", empty],
          ],
        },
        {
          ...topicName,
          offset: 2,
          timestamp: 1_700_000_000_124,
          key: empty,
          value: null,
          headers: [],
        },
      ]);
    });

    test("what a member committed is where the next one begins", async () => {
      const [topic, group] = [await topicOf("committed", 3), fresh("group")];
      const placed = await fill(producer(), topic, 3000, "c");
      const first = consumer(group);
      await first.must("subscribe", topic);
      const got = await first.poll(1500);
      expect(got).toHaveLength(1500);
      expect((await first.ask("commit")).error).toBeNull();
      const positions = (await first.must("position", topic, 0, topic, 1, topic, 2)).offsets;
      await first.close();
      const second = consumer(group);
      const { offsets } = await second.must("committed", topic, 0, topic, 1, topic, 2);
      expect(offsets.filter(([, , offset]: Place) => offset >= 0)).toEqual(
        positions.filter(([, , offset]: Place) => offset >= 0),
      );
      await second.must("subscribe", topic);
      const rest = await second.poll(1500);
      const both = [...got, ...rest].map((r) => `${r.partition}/${r.offset}`);
      expect(new Set(both)).toEqual(new Set(placed.map(([p, o]) => `${p}/${o}`)));
      expect(both).toHaveLength(3000);
    });

    test("offsets for times, by the time of each record", async () => {
      const topic = await topicOf("times", 1);
      const from = producer({ "compression.codec": "lz4" });
      const times = [1000, 3000, 2000, 5000, 4000, 6000].map((ms) => 1_700_000_000_000 + ms);
      for (const time of times) {
        await from.must("produce", topic, 0, Buffer.from("k"), Buffer.from("v"), time);
      }
      await from.must("flush");
      const to = consumer(fresh("group"));
      const ask = async (ms: number): Promise<number> => {
        const time = 1_700_000_000_000 + ms;
        return offsetsOf((await to.must("offsetsForTimes", topic, 0, time)).offsets)[0];
      };
      expect(await ask(0)).toBe(0);
      expect(await ask(1000)).toBe(0);
      expect(await ask(1001)).toBe(1);
      expect(await ask(3001)).toBe(3);
      expect(await ask(5001)).toBe(5);
      expect(await ask(6001)).toBe(-1); // RD_KAFKA_OFFSET_END
      const { low, high } = await to.must("watermarks", topic, 0);
      expect([low, high]).toEqual([0, 6]);
    });

    test("pause, resume and seek", async () => {
      const topic = await topicOf("seek", 2);
      const from = producer();
      for (let i = 0; i < 200; i++) {
        await from.must("produce", topic, i % 2, Buffer.from("k"), Buffer.from(`${i}`), 1);
      }
      await from.must("flush");
      const to = consumer(fresh("group"));
      await to.must("assign", topic, 0, 0, topic, 1, 0);
      expect(await to.poll(200)).toHaveLength(200);
      await to.must("pause", topic, 1);
      await to.must("seek", topic, 0, 90, topic, 1, 95);
      const unpaused = await to.poll(15, 500);
      expect(unpaused.map((r) => [r.partition, r.offset])).toEqual(
        Array.from({ length: 10 }, (_, i) => [0, 90 + i]),
      );
      await to.must("resume", topic, 1);
      const resumed = await to.poll(5);
      expect(resumed.map((r) => [r.partition, r.offset])).toEqual(
        Array.from({ length: 5 }, (_, i) => [1, 95 + i]),
      );
    });

    test("a position beyond the end is reset, or told, as the client wants", async () => {
      const topic = await topicOf("range", 1);
      await fill(producer(), topic, 10, "r");
      const back = consumer(fresh("group"));
      await back.must("assign", topic, 0, 5000);
      expect(await back.poll(10)).toHaveLength(10);
      const told = consumer(fresh("group"), { "auto.offset.reset": "error" });
      await told.must("assign", topic, 0, 5000);
      await expect(told.poll(1)).rejects.toThrow("_AUTO_OFFSET_RESET");
    });

    describe("groups", () => {
      test.each(["range", "roundrobin", "cooperative-sticky"])(
        "two members, %s",
        async (assignor) => {
          const [topic, group] = [await topicOf("members", 6), fresh("group")];
          const how = { "partition.assignment.strategy": assignor };
          const first = consumer(group, how);
          await first.must("subscribe", topic);
          await settle([first], 6);
          const second = consumer(group, how);
          await second.must("subscribe", topic);
          await settle([first, second], 3, 3);
          expect([...owned(first), ...owned(second)].sort()).toEqual([0, 1, 2, 3, 4, 5]);
          if (assignor === "cooperative-sticky") {
            const taken = first.events.filter(({ event }) => event === "revoked");
            expect(taken.flatMap(({ partitions }) => partitions)).toHaveLength(3);
          }
          const described = await admin.must("describeGroup", group);
          expect(described).toMatchObject({ state: "Stable", assignor });
          expect(described.members).toHaveLength(2);
          await second.close();
          await settle([first], 6);
        },
      );

      test("a static member that comes back is given what it had, and nobody notices", async () => {
        const [topic, group] = [await topicOf("static", 4), fresh("group")];
        const seldom = { "session.timeout.ms": 30_000 };
        const named = (name: string): Librdkafka =>
          consumer(group, { ...seldom, "group.instance.id": name });
        const [first, second] = [named("one"), named("two")];
        await first.must("subscribe", topic);
        await second.must("subscribe", topic);
        await settle([first, second], 2, 2);
        const before = await second.ask("membership");
        const had = owned(second);
        await second.end("SIGKILL");
        const again = named("two");
        await again.must("subscribe", topic);
        await settle([first, again], 2, 2);
        expect(owned(again)).toEqual(had);
        const after = await again.ask("membership");
        expect(after.generation).toBe(before.generation);
        expect(after.memberId).not.toBe(before.memberId);
        const { members } = await admin.must("describeGroup", group);
        const instances = members.map((m: { instanceId: string }) => m.instanceId);
        expect(instances.sort()).toEqual(["one", "two"]);
      });

      test("two of one instance id: the older is fenced", async () => {
        const [topic, group] = [await topicOf("fenced", 2), fresh("group")];
        const named = (): Librdkafka => consumer(group, { "group.instance.id": "one" });
        const older = named();
        await older.must("subscribe", topic);
        await settle([older], 2);
        const newer = named();
        await newer.must("subscribe", topic);
        await settle([newer], 2);
        await expect
          .poll(() => older.poll(1, 100).then(String, String), patiently)
          .toContain("FENCED_INSTANCE_ID");
      });
    });

    describe("administration", () => {
      test("topics are made, grown and deleted", async () => {
        const topic = await topicOf("made", 2);
        const from = producer();
        await fill(from, topic, 100, "m");
        await from.close(); // or it would make the topic anew by asking for it
        expect((await admin.must("createPartitions", topic, 5)).topics).toEqual([[topic, null]]);
        const reader = consumer(fresh("group"));
        await expect
          .poll(async () => (await reader.ask("watermarks", topic, 4)).high, patiently)
          .toBe(0);
        expect((await admin.must("deleteTopic", topic)).topics).toEqual([[topic, null]]);
        const without = consumer(fresh("group"));
        await expect
          .poll(async () => (await without.ask("watermarks", topic, 0)).error ?? "", patiently)
          .toMatch(/UNKNOWN_(TOPIC|PARTITION)/);
        const again = await admin.must("createTopic", topic, 1);
        expect(again.topics).toEqual([[topic, null]]);
        const anew = consumer(fresh("group"));
        await expect
          .poll(() => anew.ask("watermarks", topic, 0), patiently)
          .toMatchObject({ error: null, low: 0, high: 0 });
      });

      test("what cannot be made says why", async () => {
        const topic = await topicOf("there", 2);
        const make = async (...words: (string | number)[]): Promise<string | null> =>
          (await admin.must("createTopic", ...words)).topics[0][1];
        expect(await make(topic, 2)).toBe("TOPIC_ALREADY_EXISTS");
        expect(await make("not a/topic", 2)).toBe("TOPIC_EXCEPTION");
        expect(await make("..", 2)).toBe("TOPIC_EXCEPTION");
        expect(await make("x".repeat(250), 2)).toBe("TOPIC_EXCEPTION");
        expect(await make(fresh("none"), 0)).toBe("INVALID_PARTITIONS");
        expect(await make(fresh("odd"), 1, "retention.ms=soon")).toBe("INVALID_CONFIG");
        expect(await make(fresh("odd"), 1, "no.such.setting=1")).toBe("INVALID_CONFIG");
        const grow = async (name: string, count: number): Promise<string | null> =>
          (await admin.must("createPartitions", name, count)).topics[0][1];
        expect(await grow(topic, 2)).toBe("INVALID_PARTITIONS");
        expect(await grow(topic, 1)).toBe("INVALID_PARTITIONS");
        expect(await grow(fresh("none"), 3)).toBe("UNKNOWN_TOPIC_OR_PART");
        const gone = await admin.must("deleteTopic", fresh("none"));
        expect(gone.topics[0][1]).toBe("UNKNOWN_TOPIC_OR_PART");
      });

      test("settings are described with their defaults, and replaced", async () => {
        const topic = await topicOf("settings", 1, "retention.ms=3600000");
        const describeIt = async (): Promise<Map<string, [string, number]>> => {
          const { resources } = await admin.must("describeConfigs", "topic", topic);
          expect(resources[0].error).toBeNull();
          const configs: [string, string, number][] = resources[0].configs;
          return new Map(configs.map(([name, value, isDefault]) => [name, [value, isDefault]]));
        };
        const before = await describeIt();
        expect(before.get("retention.ms")).toEqual(["3600000", 0]);
        expect(before.get("cleanup.policy")).toEqual(["delete", 1]);
        expect(before.get("max.message.bytes")).toEqual(["1048588", 1]);
        const wanted = ["cleanup.policy=compact", "segment.bytes=1048576"];
        const { resources } = await admin.must("alterConfigs", topic, ...wanted);
        expect(resources[0].error).toBeNull();
        const after = await describeIt();
        expect(after.get("cleanup.policy")).toEqual(["compact", 0]);
        expect(after.get("segment.bytes")).toEqual(["1048576", 0]);
        expect(after.get("retention.ms")?.[1]).toBe(1);
        const refused = await admin.must("alterConfigs", topic, "cleanup.policy=keep");
        expect(refused.resources[0].error).toBe("INVALID_CONFIG");
        expect((await describeIt()).get("cleanup.policy")).toEqual(["compact", 0]);
        const none = await admin.must("describeConfigs", "topic", fresh("none"));
        expect(none.resources[0].error).toBe("UNKNOWN_TOPIC_OR_PART");
        const node = await admin.must("describeConfigs", "broker", "1");
        expect(node.resources[0].configs.length).toBeGreaterThan(3);
      });

      test("a compacted topic wants keys", async () => {
        const topic = await topicOf("compacted", 1, "cleanup.policy=compact");
        const from = producer();
        await from.must("produce", topic, 0, null, Buffer.from("v"), 1);
        const { delivered } = await from.must("flush");
        expect(delivered[0][3]).toBe("INVALID_RECORD");
      });

      test("records are deleted up to an offset", async () => {
        const topic = await topicOf("shortened", 2);
        const from = producer();
        for (let i = 0; i < 100; i++)
          await from.must("produce", topic, 0, null, Buffer.from("v"), 1);
        await from.must("flush");
        const remove = async (partition: number, before: number): Promise<Place> =>
          (await admin.must("deleteRecords", topic, partition, before)).offsets[0];
        expect(await remove(0, 40)).toEqual([topic, 0, 40, null]);
        expect((await remove(0, 101))[3]).toBe("OFFSET_OUT_OF_RANGE");
        expect(await remove(0, 20)).toEqual([topic, 0, 40, null]);
        const reader = consumer(fresh("group"));
        expect(await reader.must("watermarks", topic, 0)).toMatchObject({ low: 40, high: 100 });
        await reader.must("assign", topic, 0, 10);
        expect((await reader.poll(60)).map((r) => r.offset)).toEqual(
          Array.from({ length: 60 }, (_, i) => 40 + i),
        );
        expect(await remove(0, -1)).toEqual([topic, 0, 100, null]);
        expect(await reader.must("watermarks", topic, 0)).toMatchObject({ low: 100, high: 100 });
      });

      test("groups are listed, described, moved and deleted", async () => {
        const [topic, group] = [await topicOf("grouped", 2), fresh("group")];
        await fill(producer(), topic, 100, "g");
        const member = consumer(group, { "client.id": "fare" });
        await member.must("subscribe", topic);
        await settle([member], 2);
        await member.must("commit", topic, 0, 3, topic, 1, 4);
        const state = async (): Promise<string | undefined> =>
          new Map((await admin.must("listGroups")).groups as [string, string][]).get(group);
        expect(await state()).toBe("Stable");
        const described = await admin.must("describeGroup", group);
        expect(described.members).toMatchObject([{ clientId: "fare", instanceId: null }]);
        expect(described.members[0].host).toContain("127.0.0.1");
        expect(described.members[0].assignment.map((p: Place) => p[1])).toEqual([0, 1]);

        const remove = async (name: string): Promise<string | null> =>
          (await admin.must("deleteGroup", name)).groups[0][1];
        expect(await remove(group)).toBe("NON_EMPTY_GROUP");
        const moved = async (): Promise<string | null> =>
          (await admin.must("alterGroupOffsets", group, topic, 0, 30)).groups[0][2][0][3];
        expect(await moved()).toBe("UNKNOWN_MEMBER_ID");
        const forget = async (): Promise<Place> =>
          (await admin.must("deleteGroupOffsets", group, topic, 1)).groups[0][2][0];
        expect((await forget())[3]).toBe("GROUP_SUBSCRIBED_TO_TOPIC");

        await member.close();
        expect(await state()).toBe("Empty");
        expect(await moved()).toBeNull();
        expect((await forget())[3]).toBeNull();
        const { groups } = await admin.must("groupOffsets", group, topic, 0, topic, 1);
        expect(offsetsOf(groups[0][2])).toEqual([30, -1001]);
        expect(await remove(group)).toBeNull();
        expect(await state()).toBeUndefined();
        expect(await remove(group)).toBe("GROUP_ID_NOT_FOUND");
      });

      test.skipIf(isKafka)("transactions are refused, once and clearly", async () => {
        const from = producer({ "transactional.id": "t" });
        const { error } = await from.ask("transaction", 5000);
        expect(error).toBe("TRANSACTIONAL_ID_AUTHORIZATION_FAILED");
        expect(from.stderr()).toContain("transactions are not served");
      });
    });
  },
);
