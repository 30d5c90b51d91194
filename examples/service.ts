/**
 * What the examples share: a service reads a topic as a member of its consumer group, and what it
 * has done with is committed. Start a service twice and the two share the partitions; stop it, and
 * the next start goes on where it was. Elsewhere than on this machine: KAFKA=host:port.
 */
import { Admin, Consumer, Producer, jsonSerializer } from "@platformatic/kafka";
import { stringDeserializer, stringSerializer } from "@platformatic/kafka";

const server = process.env["KAFKA"] ?? "127.0.0.1:9092";
const commitEveryMs = 1000;

export type Read<Value> = {
  partition: number;
  offset: bigint;
  key: string | undefined;
  value: Value;
  /** ms; when it came into the log. */
  timestamp: number;
};

export type State = {
  /** Of a partition, the first record that must be read again after a restart, if any. */
  neededFrom?(partition: number): bigint | undefined;
  /** The partition is another member's now. */
  lost?(partition: number): void;
};

/**
 * A topic's records, from the beginning or from where the group was; ends at Ctrl-C. A record
 * counts as done when the next one is asked for: a service that is killed sees its last second
 * again.
 */
export async function* read<Value>(
  group: string,
  topic: string,
  state: State = {},
): AsyncGenerator<Read<Value>> {
  const consumer = new Consumer({
    clientId: group,
    groupId: group,
    bootstrapBrokers: [server],
    deserializers: { key: stringDeserializer, value: stringDeserializer },
    retries: true,
    sessionTimeout: 10_000,
    rebalanceTimeout: 30_000,
    heartbeatInterval: 1000,
    maxWaitTime: 500,
    timeout: 10_000,
  });
  /** By partition: the offset that comes next. */
  const next = new Map<number, bigint>();
  consumer.on("consumer:group:join", ({ assignments = [] }) => {
    const own = assignments.find((assignment) => assignment.topic === topic)?.partitions ?? [];
    say(group, `reads ${own.length} partitions of ${topic}`);
    for (const partition of next.keys()) {
      if (own.includes(partition)) continue;
      next.delete(partition);
      state.lost?.(partition);
    }
  });
  consumer.once("client:broker:failed", () => say(group, `no answer from ${server}, trying on`));
  // a gateway that is away is waited for, a topic that is missing is not
  await consumer.metadata({ topics: [topic], retries: 0 }).catch((error: Error) => {
    if (!error.message.startsWith("Unknown topic")) return;
    say(group, error.message);
    process.exit(1);
  });
  const stream = await consumer.consume({
    topics: [topic],
    mode: "committed",
    fallbackMode: "earliest",
    autocommit: false,
  });
  consumer.on("error", (error) => stream.destroy(error));
  const commit = async (): Promise<void> => {
    const offsets = [...next].map(([partition, offset]) => {
      return { topic, partition, offset: state.neededFrom?.(partition) ?? offset, leaderEpoch: -1 };
    });
    if (offsets.length > 0) await consumer.commit({ offsets });
  };
  const timer = setInterval(() => {
    commit().catch((error) => say(group, `not committed, tries again: ${error.message}`));
  }, commitEveryMs);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => void stream.close());
  }
  try {
    for await (const { partition, offset, key, value = "", timestamp } of stream) {
      // after a rebalance it begins at the last commit: what was done since is passed over
      if (offset < (next.get(partition) ?? 0n)) continue;
      const parsed = parse<Value>(value);
      if (parsed !== null) {
        yield { partition, offset, key, value: parsed, timestamp: Number(timestamp) };
      }
      next.set(partition, offset + 1n);
    }
  } finally {
    clearInterval(timer);
    await commit().catch(() => {});
    await consumer.close(true);
  }
}

/** Anybody may write to a topic: what is no JSON object is passed over. */
function parse<Value>(text: string): Value | null {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

/** Writes records as JSON; each is safe in the log, once, before `send` resolves. */
export function writer(service: string): Producer<string, object, string, string> {
  return new Producer({
    clientId: service,
    bootstrapBrokers: [server],
    serializers: { key: stringSerializer, value: jsonSerializer },
    idempotent: true,
  });
}

/** Makes topics, unless they are there. */
export async function ensureTopics(topics: string[], compacted = false): Promise<void> {
  const admin = new Admin({ clientId: "examples", bootstrapBrokers: [server] });
  const configs = compacted ? [{ name: "cleanup.policy", value: "compact" }] : [];
  for (const topic of topics) {
    await admin
      .createTopics({ topics: [topic], partitions: 4, replicas: 1, configs })
      .catch((e) => {
        if (!e.findBy?.("apiId", "TOPIC_ALREADY_EXISTS")) throw e;
      });
  }
  await admin.close();
}

/** For people; what a service finds out goes to stdout. */
export function say(service: string, text: string): void {
  process.stderr.write(`${service}: ${text}\n`);
}
