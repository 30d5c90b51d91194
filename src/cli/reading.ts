/** `milepost consume`: what is fetched becomes lines, alone or as a member of a group. */
import { Consumer } from "@platformatic/kafka";
import type { LogRecord } from "../log/types.ts";
import type { ConsumeFlags } from "./consume.ts";
import { UsageError } from "./failure.ts";
import { GroupMember } from "./group-member.ts";
import { asFailure, clientOptions, findTopic, patiently } from "./kafka-client.ts";
import { jsonLine, recordsOf, valueLine } from "./record-lines.ts";
import type { Start } from "./start.ts";
import { boundsOf, resolveStart } from "./topic-offsets.ts";
import { TopicReader, type Chunk, type Position } from "./topic-reader.ts";

/** Lines are written in pieces of about this size, not one by one. */
const pieceChars = 64 * 1024;

export class Reading {
  readonly #topic: string;
  readonly #flags: ConsumeFlags;
  readonly #consumer: Consumer;
  readonly #reader: TopicReader;
  readonly #from: Start;
  readonly #line: (topic: string, record: LogRecord) => string;
  #member: GroupMember | null = null;
  #failure: Error | null = null;
  #left: number;
  /** Another one after each change of what is to be read: what came before is not printed. */
  #assignment = 0;
  stoppedMs: number | null = null;

  constructor(topic: string, flags: ConsumeFlags) {
    this.#topic = topic;
    this.#flags = flags;
    this.#from = flags.from ?? (flags.exit ? "earliest" : "latest");
    this.#line = flags.json ? jsonLine : valueLine;
    this.#left = flags.count ?? Infinity;
    // reads by itself: the group's member, if there is one, has its own connection
    this.#consumer = new Consumer({ ...clientOptions(flags.server), groupId: "none" });
    this.#reader = new TopicReader(this.#consumer, topic, say);
  }

  stop(): void {
    this.stoppedMs ??= performance.now();
    this.#reader.close();
  }

  async run(): Promise<void> {
    const { group, partition } = this.#flags;
    try {
      await this.#check();
      if (group === undefined) await this.#begin(partition === undefined ? null : [partition]);
      else this.#join(group);
      await this.#print();
    } catch (error) {
      // whoever read this has seen enough
      if ((error as NodeJS.ErrnoException).code !== "EPIPE") this.#failure ??= error as Error;
    } finally {
      this.#reader.close();
      await this.#member?.leave();
      await this.#consumer.close(true);
    }
    if (this.#failure !== null) throw asFailure(this.#failure, this.#topic);
  }

  async #check(): Promise<void> {
    const { server, partition, from, exit } = this.#flags;
    const partitions = await findTopic(this.#consumer, this.#topic, server);
    if (partition !== undefined && partition >= partitions) {
      throw new UsageError(`--partition: ${this.#topic} has partitions 0 to ${partitions - 1}`);
    }
    if (process.stdout.isTTY && !exit && from === undefined) {
      say("waiting for new records; --from earliest shows what is there. Ctrl-C ends");
    }
  }

  #join(group: string): void {
    const fail = (error: unknown): void => {
      this.#failure ??= error as Error;
      this.#reader.close();
    };
    this.#member = new GroupMember(clientOptions(this.#flags.server), group, this.#topic, {
      assigned: (partitions) => void this.#begin(partitions).catch(fail),
      revoked: () => this.#pause(),
      failed: fail,
    });
    void this.#member.join();
  }

  #pause(): void {
    this.#assignment++;
    this.#reader.assign(null);
  }

  /** Reads these partitions from now on; null: all there are. */
  async #begin(partitions: number[] | null): Promise<void> {
    this.#pause();
    const assignment = this.#assignment;
    const positions = await patiently(async () => {
      const all = await boundsOf(this.#consumer, this.#topic);
      const bounds = new Map([...all].filter(([p]) => partitions?.includes(p) ?? true));
      const starts = await resolveStart(this.#consumer, this.#topic, this.#from, bounds);
      const committed = await this.#member?.committed([...bounds.keys()]);
      return [...bounds].map(([partition, { end }]): [number, Position] => {
        const next = committed?.get(partition) ?? (starts.get(partition) as number);
        return [partition, { next, end: this.#flags.exit ? end : Infinity }];
      });
    });
    if (assignment !== this.#assignment) return;
    // also where nothing comes: what comes while nobody is there is not missed then
    for (const [partition, { next }] of positions) this.#member?.done(partition, next);
    this.#reader.assign(new Map(positions));
  }

  async #print(): Promise<void> {
    while (this.#left > 0) {
      const chunks = await this.#reader.next();
      if (chunks === null) return;
      const assignment = this.#assignment;
      for (const chunk of chunks) {
        if (!(await this.#printChunk(chunk, assignment))) break;
      }
    }
  }

  /** False when there is nothing more to print of this assignment. */
  async #printChunk(chunk: Chunk, assignment: number): Promise<boolean> {
    let piece = "";
    const flush = async (next: number): Promise<boolean> => {
      if (piece !== "") await write(piece);
      piece = "";
      if (assignment !== this.#assignment) return false;
      this.#member?.done(chunk.partition, next);
      return this.#left > 0 && this.stoppedMs === null;
    };
    for (const record of recordsOf(chunk)) {
      piece += this.#line(this.#topic, record);
      this.#left--;
      if (piece.length < pieceChars && this.#left > 0) continue;
      if (!(await flush(record.offset + 1))) return false;
    }
    return flush(Math.min(chunk.next, chunk.end));
  }
}

/** Resolves once the text is with the reader; what was not taken is not committed either. */
function write(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

function say(line: string): void {
  process.stderr.write(`milepost: ${line}\n`);
}
