/** Topic `positions.dlq`: what a sink could not write, with the reason and the record's place. */
import { compatibilityPartitioner, Producer, type BaseOptions } from "@platformatic/kafka";
import { limits } from "../model/limits.ts";
import { type DeadLetter, placeOf } from "./target.ts";

export const deadLetterTopic = "positions.dlq";

/** Of one request: a megabyte holds what a topic takes at once. */
const requestBytes = 512 * 1024;

export class DeadLetters {
  readonly #options: BaseOptions;
  #producer: Producer | null = null;
  /** Of batches that are not committed yet: a second try does not bury them again. */
  readonly #buried = new Set<string>();

  constructor(options: BaseOptions) {
    this.#options = options;
  }

  async bury(letters: DeadLetter[]): Promise<void> {
    const fresh = letters.filter((letter) => !this.#buried.has(idOf(letter)));
    for (let from = 0; from < fresh.length;) {
      let bytes = 0;
      let to = from;
      while (to < fresh.length && (to === from || bytes + sizeOf(fresh[to]) <= requestBytes)) {
        bytes += sizeOf(fresh[to++]);
      }
      await this.#send(fresh.slice(from, to));
      from = to;
    }
  }

  /** The batch is in the database: it comes no more. */
  settled(): void {
    this.#buried.clear();
  }

  async close(): Promise<void> {
    await this.#producer?.close(true).catch(() => {});
  }

  async #send(letters: DeadLetter[]): Promise<void> {
    this.#producer ??= new Producer<Buffer, Buffer, Buffer, Buffer>({
      ...this.#options,
      partitioner: compatibilityPartitioner,
      autocreateTopics: true,
    });
    const messages = letters.map((letter) => {
      const { topic, partition, offset, timestamp, key, value } = letter;
      const headers = new Map<Buffer, Buffer>();
      const note = { reason: reasonOf(letter), topic, partition, offset };
      for (const [name, text] of Object.entries(note)) {
        headers.set(Buffer.from(name), Buffer.from(String(text)));
      }
      return {
        topic: deadLetterTopic,
        key: key === null ? undefined : Buffer.from(key),
        value: value === null ? undefined : Buffer.from(cut(value)),
        headers,
        timestamp: BigInt(timestamp),
      };
    });
    await this.#producer.send({ messages, acks: -1 });
    for (const letter of letters) this.#buried.add(idOf(letter));
  }
}

function idOf(letter: DeadLetter): string {
  return `${placeOf(letter)}/${letter.offset}`;
}

function cut(value: Uint8Array): Uint8Array {
  return value.subarray(0, limits.deadLetterValueBytesMax);
}

function reasonOf({ reason, value }: DeadLetter): string {
  const whole = value === null || value.byteLength <= limits.deadLetterValueBytesMax;
  return whole ? reason : `${reason}; cut, it had ${value.byteLength} bytes`;
}

function sizeOf({ key, value }: DeadLetter): number {
  return 1000 + (key?.byteLength ?? 0) + (value?.byteLength ?? 0);
}
