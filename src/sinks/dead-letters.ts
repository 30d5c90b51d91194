/** Topic `positions.dlq`: what a sink could not write, with the reason and the record's place. */
import { Producer, type BaseOptions } from "@platformatic/kafka";
import { limits } from "../model/limits.ts";
import { murmur2 } from "../partitions/murmur2.ts";
import { type DeadLetter, placeOf } from "./target.ts";

export const deadLetterTopic = "positions.dlq";

/** Of one request: a megabyte holds what a topic takes at once. */
const requestBytes = 512 * 1024;
const nobody = Buffer.alloc(0);

export class DeadLetters {
  readonly #options: BaseOptions;
  #producer: Producer | null = null;
  /** Of batches that are not committed yet: a second try does not bury them again. */
  readonly #buried = new Set<string>();

  constructor(options: BaseOptions) {
    this.#options = options;
  }

  async bury(letters: DeadLetter[]): Promise<void> {
    // one that came from there is there already: to bury it again would never end
    const others = letters.filter(({ topic }) => topic !== deadLetterTopic);
    const fresh = others.filter((letter) => !this.#buried.has(idOf(letter)));
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
      // the client's own takes minutes over a key of a megabyte
      partitioner: (_message, key = nobody) => murmur2(key, 0, key.byteLength) & 0x7fffffff,
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
        key: key === null ? undefined : Buffer.from(cut(key, limits.deadLetterKeyBytesMax)),
        value: value === null ? undefined : Buffer.from(cut(value, limits.deadLetterValueBytesMax)),
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

function cut(bytes: Uint8Array, most: number): Uint8Array {
  return bytes.subarray(0, most);
}

function reasonOf({ reason, key, value }: DeadLetter): string {
  let text = reason;
  if (value !== null && value.byteLength > limits.deadLetterValueBytesMax) {
    text += `; cut, it had ${value.byteLength} bytes`;
  }
  if (key !== null && key.byteLength > limits.deadLetterKeyBytesMax) {
    text += `; key cut, it had ${key.byteLength} bytes`;
  }
  return text;
}

function sizeOf({ key, value }: DeadLetter): number {
  return 1000 + (key?.byteLength ?? 0) + (value?.byteLength ?? 0);
}
