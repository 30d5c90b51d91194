/** The rows of the Kafka port: the same client against Milepost and against Apache Kafka. */
import { type Contender, type Context, type Measure, type Run, fresh, kept } from "./contender.ts";
import { devices, faults } from "./generator.ts";
import { type KafkaLoad, type KafkaReport, kafkaFaults, kafkaLoad } from "./kafka-generator.ts";
import { perfTest } from "./kafka-perf-test.ts";
import { type BenchTopic, createTopic, withTopic } from "./kafka-topics.ts";
import type { Row } from "./rows.ts";
import type { Server, ServerName } from "./servers.ts";

const partitions = 16;
const warm = 2;
const everyone: ServerName[] = ["milepost", "kafka flushed", "kafka"];

const each = (names: ServerName[], measure: Measure): Contender[] =>
  names.map((name) => kept(name, 100, measure));

/** What a virtual machine compiles belongs to no run: the first of a server does not count. */
function warmed(measure: Measure): Measure {
  const warm = new WeakSet<Server>();
  return async (server, context, name) => {
    if (!warm.has(server)) await measure(server, context, name);
    warm.add(server);
    return await measure(server, context, name);
  };
}

const on = ({ kafka, pid }: Server, { name, partitions }: BenchTopic): KafkaLoad => ({
  port: kafka,
  pid,
  topic: name,
  partitions,
  warm,
});

function shares({ serverCpuS, generatorCpuS, othersCpuS, seconds }: KafkaReport) {
  return {
    "server %": (serverCpuS / seconds) * 100,
    "generator %": (generatorCpuS / seconds) * 100,
    "others %": (othersCpuS / seconds) * 100,
  };
}

function produced(report: KafkaReport): Run {
  return {
    figures: {
      "rec/s": report.producedPerS,
      "µs/rec": report.serverUsPerRecord,
      "p50 ms": report.ack.p50Ms,
      "p99 ms": report.ack.p99Ms,
      ...shares(report),
    },
    faults: kafkaFaults(report),
    raw: report,
  };
}

function consumed(report: KafkaReport): Run {
  return {
    figures: {
      "rec/s": report.consumedPerS,
      "µs/rec": report.serverUsPerRecord,
      "MB/s": report.consumedMBPerS,
      ...shares(report),
    },
    faults: kafkaFaults(report),
    raw: report,
  };
}

const produce = (shape: Partial<KafkaLoad>): Measure =>
  warmed((server, { seconds }) =>
    withTopic(server, partitions, async (topic) =>
      produced(await kafkaLoad({ ...on(server, topic), seconds, producers: 4, ...shape })),
    ),
  );

/** A topic filled once and read again and again, by `consumers`. */
function consume(fill: Partial<KafkaLoad>, consumers: number): Measure {
  const filled = new WeakMap<Server, BenchTopic>();
  return warmed(async (server, { seconds }) => {
    const topic = filled.get(server) ?? (await createTopic(server.kafka, partitions));
    if (!filled.has(server)) await kafkaLoad({ ...on(server, topic), producers: 4, ...fill });
    filled.set(server, topic);
    const load = { ...on(server, topic), seconds, consumers, from: "start", again: true } as const;
    return consumed(await kafkaLoad(load));
  });
}

const tenThousand = { producers: 2, consumers: 2, rate: 10_000 };

const latency: Measure = warmed((server, { seconds }) =>
  withTopic(server, partitions, async (topic) => {
    const report = await kafkaLoad({ ...on(server, topic), seconds, ...tenThousand });
    return {
      figures: {
        "p50 ms": report.read.p50Ms,
        "p99 ms": report.read.p99Ms,
        "p99.9 ms": report.read.p999Ms,
        "ack p50": report.ack.p50Ms,
        "ack p99": report.ack.p99Ms,
        "µs/rec": report.serverUsPerRecord,
        ...shares(report),
      },
      faults: kafkaFaults(report),
      raw: report,
    };
  }),
);

/** The same topic, of 260 MB, with and without consumers that ask for all of it and never read. */
const frozenCount = 8;
const frozen: Measure = warmed((server, { seconds }) =>
  withTopic(server, partitions, async (topic) => {
    const load = { ...on(server, topic), seconds, ...tenThousand };
    await kafkaLoad({ ...on(server, topic), producers: 4, fill: 2_000_000 });
    const alone = await kafkaLoad(load);
    const beside = await kafkaLoad({ ...load, frozen: frozenCount });
    return {
      figures: {
        "p99 ms": alone.read.p99Ms,
        "p99 frozen": beside.read.p99Ms,
        "µs/rec": alone.serverUsPerRecord,
        "µs frozen": beside.serverUsPerRecord,
        "µs ratio": beside.serverUsPerRecord / alone.serverUsPerRecord,
        "MB more": (beside.serverRssBytes[1] - alone.serverRssBytes[1]) / 2 ** 20,
      },
      faults: [...kafkaFaults(alone), ...kafkaFaults(beside)],
      raw: { alone, beside },
    };
  }),
);

/** MQTT at half of its maximum, by itself and while three groups read all of `positions`. */
const readers: Measure = async (server, { seconds }) => {
  const load = { to: "mqtt" as const, port: server.mqtt, pid: server.pid, devices: 10_000 };
  const full = await devices({ ...load, seconds });
  const rate = Math.round(full.ackedPerS / 2);
  const alone = await devices({ ...load, seconds, rate });
  const { kafka: port } = server;
  const reading = kafkaLoad({
    port,
    topic: "positions",
    partitions: 16,
    consumers: 1,
    groups: 3,
    warm: 3, // the devices connect meanwhile
    seconds: seconds + 2,
  });
  const beside = await devices({ ...load, seconds: seconds + 4, rate });
  const read = await reading;
  return {
    figures: {
      "msg/s": alone.ackedPerS,
      "p99 ms": alone.p99Ms,
      "msg/s read": beside.ackedPerS,
      "p99 read": beside.p99Ms,
      "p99 ratio": beside.p99Ms / alone.p99Ms,
      "rec/s": read.consumedPerS,
      lag: read.lag,
      "others %": (beside.othersCpuS / beside.seconds) * 100,
    },
    faults: [...faults(alone), ...faults(beside), ...kafkaFaults(read)],
    raw: { full, alone, beside, read },
  };
};

const idleConsumers: Measure = async (server, { seconds }: Context) =>
  withTopic(server, partitions, async (topic) => {
    const idle = { ...on(server, topic), warm: 1 };
    // What the first members load and compile belongs to no consumer.
    await kafkaLoad({ ...idle, groups: 2, consumers: 5, seconds: 1 });
    const load = { ...idle, groups: 200, consumers: 5, seconds: Math.max(10, seconds) };
    const report = await kafkaLoad(load);
    const [before, after] = report.serverRssBytes.map((bytes) => bytes / 2 ** 20);
    return {
      figures: {
        "MB before": before,
        "MB with all": after,
        "MB more": after - before,
        ...shares(report),
      },
      faults: kafkaFaults(report),
      raw: report,
    };
  });

const smallBatches = { records: 8, fill: 1_000_000, perRequest: 4, window: 20 };

export const kafkaRows: Row[] = [
  {
    name: "kafka-produce",
    title: "Kafka: produce, 118 B records, 16 KB batches, acks=all, one batch a request",
    contenders: each(everyone, produce({ window: 50 })),
    targets: [
      { of: "milepost", figure: "rec/s", over: "kafka flushed", atLeast: 1 },
      { of: "milepost", figure: "rec/s", over: "kafka", atLeast: 0.7 },
    ],
  },
  {
    name: "kafka-produce-4",
    title: "Kafka: the same, idempotent, batches of four partitions in a request",
    contenders: each(everyone, produce({ perRequest: 4, idempotent: true })),
    targets: [
      { of: "milepost", figure: "rec/s", over: "kafka flushed", atLeast: 1 },
      { of: "milepost", figure: "rec/s", over: "kafka", atLeast: 0.7 },
    ],
  },
  {
    name: "kafka-consume",
    title: "Kafka: consume them, two consumers",
    contenders: each(["milepost", "kafka"], consume({ fill: 2_000_000 }, 2)),
    targets: [
      { of: "milepost", figure: "rec/s", over: "kafka", atLeast: 0.7 },
      { of: "milepost", figure: "rec/s", atLeast: 500_000 },
    ],
  },
  {
    name: "kafka-small",
    title: "Kafka: consume batches of 8 records (keyed pings), one consumer",
    contenders: each(["milepost", "kafka"], consume(smallBatches, 1)),
    targets: [{ of: "milepost", figure: "rec/s", atLeast: 150_000 }],
  },
  {
    name: "kafka-java",
    title: "Kafka: Java's own perf tools, 118 B records, 16 KB batches, acks=all",
    contenders: each(everyone, perfTest),
    targets: [
      { of: "milepost", figure: "produced/s", over: "kafka flushed", atLeast: 1 },
      { of: "milepost", figure: "produced/s", over: "kafka", atLeast: 0.7 },
      { of: "milepost", figure: "consumed/s", over: "kafka", atLeast: 0.7 },
    ],
  },
  {
    name: "kafka-latency",
    title: "Kafka: produce to consume at 10 000 records/s, acks=all",
    contenders: each(everyone, latency),
    targets: [
      { of: "milepost", figure: "p50 ms", atMost: 5 },
      { of: "milepost", figure: "p99 ms", atMost: 25 },
    ],
  },
  {
    name: "kafka-frozen",
    title: `the same with ${frozenCount} consumers that ask for 260 MB and never read`,
    contenders: each(["milepost", "kafka"], frozen),
    targets: [
      { of: "milepost", figure: "p99 frozen", atMost: 25 },
      { of: "milepost", figure: "µs ratio", atMost: 1.1 },
    ],
  },
  {
    name: "kafka-readers",
    title: "MQTT, 10 000 sockets, half of the own maximum, while three groups read everything",
    contenders: [kept("milepost", 10_100, readers)],
    targets: [{ of: "milepost", figure: "p99 ratio", atMost: 2 }],
  },
  {
    name: "kafka-idle",
    title: "Kafka: 1 000 idle consumers in 200 groups",
    contenders: (["milepost", "kafka"] as const).map((name) => fresh(name, 2100, idleConsumers)),
    targets: [{ of: "milepost", figure: "MB more", atMost: 200 }],
  },
];
