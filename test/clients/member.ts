/**
 * A member of a consumer group in a process of its own, which can be killed:
 *
 *     node member.ts kafkajs|platformatic BROKERS GROUP TOPIC LEDGER NAME [INSTANCE]
 *
 * It notes in the ledger what it owns, processes and commits, until SIGTERM.
 */
import { Consumer } from "@platformatic/kafka";
import { kafkajs } from "./kafkajs.ts";
import { GAVE_UP, LedgerWriter } from "./ledger.ts";
import { options } from "./platformatic.ts";

const [client, address, group, topic, path, name, instance] = process.argv.slice(2);
const ledger = new LedgerWriter(path, name);

/**
 * Both clients may hand over records that they had fetched before a rebalance, so a partition goes
 * on where it is committed or, if that is further, where this member itself has come to.
 */
class Work {
  owned: number[] = [];
  readonly #next = new Map<number, number>();
  readonly #sure = new Set<number>();
  readonly #toCommit = new Map<number, number>();
  readonly #committedOf: (partition: number) => Promise<number>;

  constructor(committedOf: (partition: number) => Promise<number>) {
    this.#committedOf = committedOf;
  }

  assigned(generation: number, partitions: number[]): void {
    this.owned = partitions;
    this.#sure.clear();
    this.#toCommit.clear();
    ledger.owns(generation, partitions);
  }

  async process(partition: number, offset: number, key: string, value: string): Promise<void> {
    if (!this.#sure.has(partition)) {
      const committed = await this.#committedOf(partition);
      this.#next.set(partition, Math.max(committed, this.#next.get(partition) ?? 0));
      this.#sure.add(partition);
    }
    let next = this.#next.get(partition) as number;
    if (!this.owned.includes(partition) || offset < next) return;
    // a commit by who had it before may have come late
    if (offset > next) next = Math.max(next, await this.#committedOf(partition));
    if (offset !== next) throw new Error(`${partition}: ${offset} came, ${next} was expected`);
    ledger.line("record", partition, offset, key, value);
    this.#next.set(partition, next + 1);
    this.#toCommit.set(partition, next + 1);
  }

  async commit(send: (offsets: [number, number][]) => Promise<unknown>): Promise<void> {
    const offsets = [...this.#toCommit];
    this.#toCommit.clear();
    if (offsets.length === 0) return;
    for (const [partition, offset] of offsets) ledger.line("committing", partition, offset);
    try {
      await send(offsets);
    } catch (error) {
      ledger.line("not-committed", (error as Error).message.replaceAll(" ", "_"));
      return;
    }
    for (const [partition, offset] of offsets) ledger.line("committed", partition, offset);
  }
}

async function runKafkajs(): Promise<void> {
  const kafka = kafkajs(address, {
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 60 },
  });
  const admin = kafka.admin();
  await admin.connect();
  const work = new Work(async (partition) => {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] });
    return Number(partitions.find((p) => p.partition === partition)?.offset ?? 0);
  });
  const consumer = kafka.consumer({
    groupId: group,
    sessionTimeout: 6000,
    rebalanceTimeout: 10_000,
    heartbeatInterval: 300,
    maxWaitTimeInMs: 100,
    // what its generation is refused for, it tries again so often before it joins anew
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 5 },
  });
  let isGenerationKnown = true;
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    work.assigned(-1, payload.memberAssignment[topic] ?? []);
    isGenerationKnown = false;
  });
  consumer.on(consumer.events.HEARTBEAT, ({ payload }) => {
    if (!isGenerationKnown) ledger.line("generation", payload.groupGenerationId);
    isGenerationKnown = true;
  });
  // it gives up when the gateway is away for longer, or when it just looks for its coordinator
  const giveUp = () => process.exit(GAVE_UP);
  consumer.on(consumer.events.CRASH, ({ payload }) => void (payload.restart || giveUp()));
  await consumer.connect().catch(giveUp);
  await consumer.subscribe({ topic, fromBeginning: true }).catch(giveUp);
  await consumer.run({
    autoCommit: false,
    // consumer.commitOffsets would say nothing when it stops, and try again whatever the error
    eachBatch: async ({ batch, commitOffsetsIfNecessary, heartbeat, isRunning, isStale }) => {
      for (const { offset, key, value } of batch.messages) {
        if (!isRunning() || isStale()) break;
        await work.process(batch.partition, Number(offset), String(key), String(value));
      }
      await work.commit((offsets) => {
        const partitions = offsets.map(([partition, next]) => ({ partition, offset: `${next}` }));
        return commitOffsetsIfNecessary({ topics: [{ topic, partitions }] });
      });
      await heartbeat();
    },
  });
  process.on("SIGTERM", () => {
    void Promise.all([consumer.disconnect(), admin.disconnect()]).then(() => process.exit(0));
  });
}

async function runPlatformatic(): Promise<void> {
  const consumer = new Consumer({
    ...options(address),
    retries: 600,
    groupId: group,
    ...(instance === undefined
      ? { sessionTimeout: 6000, rebalanceTimeout: 10_000 }
      : { groupInstanceId: instance, sessionTimeout: 30_000, rebalanceTimeout: 30_000 }),
    heartbeatInterval: 300,
    maxWaitTime: 100,
  });
  const work = new Work(async (partition) => {
    const wanted = { topics: [{ topic, partitions: [partition] }] };
    const committed = await consumer.listCommittedOffsets(wanted);
    return Number(committed.get(topic)?.[partition] ?? 0);
  });
  // a commit that met a rebalance would be sent again after it, whoever owns the partition then
  let isRebalancing = false;
  consumer.on("consumer:group:rebalance", () => (isRebalancing = true));
  consumer.on("consumer:group:join", ({ generationId, assignments }) => {
    isRebalancing = false;
    const partitions = (assignments ?? []).flatMap((a) => a.partitions);
    work.assigned(generationId ?? -1, partitions);
  });
  const stream = await consumer.consume({
    topics: [topic],
    mode: "committed",
    fallbackMode: "earliest",
    autocommit: false,
  });
  let stopping = false;
  process.on("SIGTERM", () => {
    stopping = true;
    void consumer.close(true).then(() => process.exit(0));
  });
  let uncommitted = 0;
  for await (const { partition, offset, leaderEpoch, key, value } of stream) {
    if (stopping) continue;
    await work.process(partition, Number(offset), String(key), String(value));
    if (isRebalancing || (++uncommitted < 50 && stream.readableLength > 0)) continue;
    uncommitted = 0;
    await work.commit((offsets) =>
      consumer.commit({
        offsets: offsets.map(([p, next]) => {
          return { topic, partition: p, offset: BigInt(next), leaderEpoch };
        }),
      }),
    );
  }
}

await (client === "kafkajs" ? runKafkajs() : runPlatformatic());
