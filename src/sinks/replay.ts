/**
 * Dead letters, written straight into the table: each once, by a row per place in the dead-letter
 * topic and per record. What the table still does not take stays where it is.
 */
import { isControl } from "../batch/header.ts";
import { RecordCursor } from "../batch/records.ts";
import type { Database, Letter, Session } from "./database.ts";
import { PingRow } from "./ping-row.ts";
import type { Slice } from "./target.ts";

/** `bytes` is a batch of the dead-letter topic that holds the letter. */
type Found = Letter & { bytes: Uint8Array };

export type Replayed = {
  written: number;
  /** In the table already. */
  there: number;
  failed: { partition: number; offset: number; reason: string }[];
};

export class Replay<Chunk> {
  readonly #database: Database<Chunk>;
  readonly #session: Session<Chunk>;
  readonly result: Replayed = { written: 0, there: 0, failed: [] };

  private constructor(database: Database<Chunk>, session: Session<Chunk>) {
    this.#database = database;
    this.#session = session;
  }

  static async begin<Chunk>(database: Database<Chunk>): Promise<Replay<Chunk>> {
    try {
      const session = await database.connect({ sink: "replay-dlq", createSchema: false });
      return new Replay(database, session);
    } catch (error) {
      throw database.asFailure(error);
    }
  }

  async end(): Promise<void> {
    await this.#session.close(false);
  }

  /** All letters of the slice; what was written before is passed over. */
  async write(slice: Slice): Promise<void> {
    for (const bytes of slice.batches) {
      if (isControl(bytes)) continue;
      const letters = this.#letters(slice, bytes);
      try {
        await this.#write(letters);
      } catch (error) {
        throw this.#database.asFailure(error);
      }
    }
  }

  #letters(slice: Slice, bytes: Uint8Array): Found[] {
    const letters: Found[] = [];
    const row = new PingRow();
    const cursor = new RecordCursor();
    cursor.open(bytes);
    while (cursor.next()) {
      const { offset: at, timestamp: received } = cursor;
      if (at < slice.start || at >= slice.end) continue;
      const reason = row.read(cursor) ?? this.#session.encoder.refuses(row);
      const headers = new Map(
        cursor.headers().map(([name, value]) => [name, Buffer.from(value).toString()]),
      );
      const [topic, partition, offset] = ["topic", "partition", "offset"].map((name) =>
        headers.get(name),
      );
      if (topic === undefined || !isWhole(partition) || !isWhole(offset)) {
        this.#fail(slice.partition, at, "no headers topic, partition and offset");
        continue;
      }
      if (reason !== null) {
        this.#fail(slice.partition, at, reason);
        continue;
      }
      letters.push({
        bytes,
        dlq: { topicId: slice.topicId, partition: slice.partition, offset: at },
        topic,
        partition: Number(partition),
        offset: Number(offset),
        received,
        id: Buffer.from(row.id.subarray(row.idStart, row.idEnd)).toString(),
        ts: row.ts,
      });
    }
    return letters;
  }

  #fail(partition: number, offset: number, reason: string): void {
    this.result.failed.push({ partition, offset, reason });
  }

  /** Halves them until one that the database does not take stands alone. */
  async #write(letters: Found[]): Promise<void> {
    if (letters.length === 0) return;
    const session = this.#session;
    await session.begin(true);
    try {
      const fresh = (await session.claim(letters)) as Found[];
      if (fresh.length > 0) await session.put(() => this.#rows(fresh));
      await session.commit();
      this.result.written += fresh.length;
      this.result.there += letters.length - fresh.length;
      return;
    } catch (error) {
      if (!this.#database.isBadRow(error)) {
        if (await session.mend(error)) return this.#write(letters);
        throw error;
      }
      await session.rollback();
      if (letters.length === 1) {
        const { partition, offset } = letters[0].dlq;
        this.#fail(partition, offset, this.#database.rowReason(error));
        return;
      }
    }
    const middle = letters.length >>> 1;
    await this.#write(letters.slice(0, middle));
    await this.#write(letters.slice(middle));
  }

  *#rows(letters: Found[]): Generator<Chunk> {
    const { encoder } = this.#session;
    const wanted = new Map(letters.map((letter) => [letter.dlq.offset, letter]));
    const cursor = new RecordCursor();
    encoder.begin();
    cursor.open(letters[0].bytes);
    while (cursor.next()) {
      const letter = wanted.get(cursor.offset);
      if (letter === undefined) continue;
      encoder.from(letter.topic, letter.partition);
      encoder.put(cursor, letter.offset);
      const chunk = encoder.full();
      if (chunk !== null) yield chunk;
    }
    yield encoder.end();
  }
}

function isWhole(text: string | undefined): boolean {
  return text !== undefined && /^\d{1,15}$/.test(text);
}
