/** `milepost produce`: stdin, line by line, into a topic. */
import { Producer } from "@platformatic/kafka";
import { limits } from "../model/limits.ts";
import { CommandFailure, UsageError } from "./failure.ts";
import { clientOptions, findTopic, patienceMs, retryMs } from "./kafka-client.ts";
import { LineProducer } from "./line-producer.ts";
import { LineSplitter } from "./lines.ts";
import type { ProduceFlags } from "./produce.ts";
import { count, progressLine } from "./terminal.ts";

const progressEveryMs = 200;
/** A topic that is made by asking for it takes a moment to appear. */
const createMs = 5000;

/** Every line of stdin a record; says how many are in, whatever happened. */
export async function produceLines(topic: string, flags: ProduceFlags): Promise<void> {
  const { server } = flags;
  const partitions = await partitionsOf(topic, flags);
  const patient = { retries: patienceMs / retryMs, retryDelay: retryMs };
  const producer = new LineProducer({ ...clientOptions(server), ...patient }, topic, {
    partitions,
    partition: flags.partition,
    headers: flags.header,
  });
  const input = new Input(flags);
  const progress = setInterval(() => {
    if (!process.stdin.isTTY) progressLine(`${count(producer.acked)} lines in ${topic}`);
  }, progressEveryMs);
  let failure: string | null = null;
  try {
    await input.pour(producer);
    await producer.flush();
  } catch (error) {
    failure = (error as Error).message;
  } finally {
    clearInterval(progress);
    progressLine("");
    await producer.close().catch(() => {});
  }
  if (input.cutShort) failure ??= "interrupted";
  const more = producer.unknown === 0 ? "" : ` (the ${producer.unknown} after them may be, too)`;
  const told = `${lines(producer.acked)} in ${topic}${more}`;
  if (failure !== null) throw new CommandFailure(`${failure}; ${told}`);
  process.stderr.write(`${told}\n`);
}

function lines(n: number): string {
  return n === 1 ? "1 line is" : `${count(n)} lines are`;
}

/** Makes the topic where it is missing. */
async function partitionsOf(topic: string, { server, partition }: ProduceFlags): Promise<number> {
  const client = new Producer({ ...clientOptions(server), autocreateTopics: true });
  try {
    const partitions = await findTopic(client, topic, server, createMs);
    if (partition === undefined || partition < partitions) return partitions;
    throw new UsageError(`--partition: ${topic} has partitions 0 to ${partitions - 1}`);
  } finally {
    await client.close();
  }
}

/** Reads stdin as fast as the producer takes it. */
class Input {
  readonly #key: Buffer | undefined;
  readonly #separator: Buffer | null;
  #line = 0;
  /** Ended by Ctrl-C where more may have come. */
  cutShort = false;

  constructor({ key, keySeparator }: ProduceFlags) {
    this.#key = key === undefined ? undefined : Buffer.from(key);
    this.#separator = keySeparator === undefined ? null : Buffer.from(keySeparator);
  }

  async pour(producer: LineProducer): Promise<void> {
    const { stdin } = process;
    let stoppedMs: number | null = null;
    const stop = (): void => {
      // the second Ctrl-C waits for nobody; a launcher may pass on the first one once more
      if (stoppedMs !== null && performance.now() - stoppedMs > 500) process.exit(1);
      stoppedMs ??= performance.now();
      // at a terminal it is one way to end the input
      this.cutShort = !stdin.isTTY;
      stdin.destroy();
    };
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
    for (const signal of signals) process.on(signal, stop);
    const splitter = new LineSplitter(limits.kafkaRequestBytesMax);
    try {
      for await (const chunk of stdin) {
        for (const bytes of splitter.push(chunk as Buffer)) await this.#add(producer, bytes);
        producer.send();
      }
    } catch (error) {
      if (stoppedMs === null) throw this.#explain(error as Error);
    }
    const last = stoppedMs === null ? splitter.end() : null;
    if (last !== null) await this.#add(producer, last);
  }

  async #add(producer: LineProducer, bytes: Buffer): Promise<void> {
    this.#line++;
    const line = this.#line;
    if (this.#separator === null) return producer.add({ line, key: this.#key, value: bytes });
    const at = bytes.indexOf(this.#separator);
    if (at < 0) {
      await producer.flush();
      throw new CommandFailure(`line ${line} has no "${this.#separator.toString()}" in it`);
    }
    const value = bytes.subarray(at + this.#separator.length);
    await producer.add({ line, key: bytes.subarray(0, at), value });
  }

  #explain(error: Error): Error {
    if (!(error instanceof RangeError)) return error;
    return new CommandFailure(`line ${this.#line + 1} is ${error.message}`);
  }
}
