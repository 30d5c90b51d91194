/** A topic of a gateway, written and read by the client that the commands use, without them. */
import { Admin, Consumer, ListOffsetTimestamps, ProduceAcks, Producer } from "@platformatic/kafka";
import { recordsOf } from "../../src/cli/record-lines.ts";
import { TopicReader } from "../../src/cli/topic-reader.ts";
import type { LogRecord } from "../../src/log/types.ts";

export class TestTopics {
  readonly #admin: Admin;
  readonly #producer: Producer;
  readonly #consumer: Consumer;

  constructor(port: number) {
    const options = { clientId: "test", bootstrapBrokers: [{ host: "127.0.0.1", port }] };
    this.#admin = new Admin(options);
    this.#producer = new Producer({ ...options, autocreateTopics: true });
    this.#consumer = new Consumer({ ...options, groupId: "test" });
  }

  /** Records with a key and a time of their own. */
  async send(topic: string, records: { key: string; value: object; timestamp: number }[]) {
    const messages = records.map(({ key, value, timestamp }) => ({
      topic,
      key: Buffer.from(key),
      value: Buffer.from(JSON.stringify(value)),
      timestamp: BigInt(timestamp),
    }));
    await this.#producer.send({ messages, acks: ProduceAcks.ALL });
  }

  async write(topic: string, values: string[], partition = 0): Promise<void> {
    const messages = values.map((value) => ({ topic, partition, value: Buffer.from(value) }));
    await this.#producer.send({ messages, acks: ProduceAcks.ALL });
  }

  /** All of it, by partition and offset. */
  async read(topic: string): Promise<LogRecord[]> {
    const ends = await this.#consumer.listOffsets({
      topics: [topic],
      timestamp: ListOffsetTimestamps.LATEST,
    });
    const positions = (ends.get(topic) ?? []).map((end, partition) => {
      return [partition, { next: 0, end: Number(end) }] as const;
    });
    const reader = new TopicReader(this.#consumer, topic, () => {});
    reader.assign(new Map(positions));
    const records: LogRecord[] = [];
    for (let chunks = await reader.next(); chunks !== null; chunks = await reader.next()) {
      for (const chunk of chunks) records.push(...recordsOf(chunk));
    }
    return records.toSorted((a, b) => a.partition - b.partition || a.offset - b.offset);
  }

  async deleteBefore(topic: string, partition: number, offset: number): Promise<void> {
    const partitions = [{ partition, offset: BigInt(offset) }];
    await this.#admin.deleteRecords({ topics: [{ name: topic, partitions }] });
  }

  async delete(topic: string): Promise<void> {
    await this.#admin.deleteTopics({ topics: [topic] });
  }

  async close(): Promise<void> {
    await this.#admin.close();
    await this.#producer.close();
    await this.#consumer.close();
  }
}
