/**
 * Dead letters, written straight into the table: each once, by a row per place in the dead-letter
 * topic and per record. What the table still does not take stays where it is.
 */
import { RecordCursor } from "../batch/records.ts";
import { hasRecords } from "../uplink/raw-fetch.ts";
import { PingRow } from "./ping-row.ts";
import { isBadRow, rowReason, asFailure } from "./pg-errors.ts";
import { copyChunks, openSession, type Session } from "./pg-session.ts";
import type { Slice } from "./target.ts";

/** `bytes` is a batch of the dead-letter topic that holds the letter. */
type Letter = {
  bytes: Uint8Array;
  dlq: { topicId: string; partition: number; offset: number };
  topic: string;
  partition: number;
  offset: number;
  received: number;
  id: string;
  ts: number;
};

export type Replayed = {
  written: number;
  /** In the table already. */
  there: number;
  failed: { partition: number; offset: number; reason: string }[];
};

const claimLetters = `
  INSERT INTO milepost_replayed
  SELECT dlq_id, dlq_partition, dlq_offset, topic, partition, "offset",
    to_timestamp(received / 1000)
  FROM unnest($1::uuid[], $2::int[], $3::bigint[], $4::text[], $5::int[], $6::bigint[],
      $7::float8[], $8::text[], $9::float8[])
    AS l(dlq_id, dlq_partition, dlq_offset, topic, partition, "offset", received, id, ts)
  WHERE NOT EXISTS (
    SELECT FROM positions x
    WHERE x.id = l.id
      AND x.ts BETWEEN to_timestamp((l.ts - 1) / 1000) AND to_timestamp((l.ts + 1) / 1000)
      AND k_topic = l.topic AND k_partition = l.partition AND k_offset = l."offset")
  ON CONFLICT DO NOTHING
  RETURNING dlq_offset AS offset`;

const dayMs = 86_400_000;

export class Replay {
  readonly #session: Session;
  readonly result: Replayed = { written: 0, there: 0, failed: [] };

  private constructor(session: Session) {
    this.#session = session;
  }

  static async begin(url: string): Promise<Replay> {
    try {
      return new Replay(await openSession({ url, sink: "replay-dlq", createSchema: false }));
    } catch (error) {
      throw asFailure(error);
    }
  }

  async end(): Promise<void> {
    await this.#session.client.end().catch(() => {});
  }

  /** All letters of the slice; what was written before is passed over. */
  async write(slice: Slice): Promise<void> {
    for (const bytes of slice.batches) {
      if (!hasRecords(bytes)) continue;
      const letters = this.#letters(slice, bytes);
      try {
        await this.#days(letters);
        await this.#write(letters);
      } catch (error) {
        throw asFailure(error);
      }
    }
  }

  #letters(slice: Slice, bytes: Uint8Array): Letter[] {
    const letters: Letter[] = [];
    const row = new PingRow();
    const cursor = new RecordCursor();
    cursor.open(bytes);
    while (cursor.next()) {
      const { offset: at, timestamp: received } = cursor;
      if (at < slice.start || at >= slice.end) continue;
      const reason = row.read(cursor);
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

  async #days(letters: Letter[]): Promise<void> {
    const { days, client } = this.#session;
    await days.make(client, days.missing(new Set(letters.map(({ ts }) => Math.floor(ts / dayMs)))));
  }

  /** Halves them until one that the database does not take stands alone. */
  async #write(letters: Letter[]): Promise<void> {
    if (letters.length === 0) return;
    const { client } = this.#session;
    await client.query("BEGIN; SET CONSTRAINTS ALL IMMEDIATE");
    try {
      const fresh = await this.#claim(letters);
      if (fresh.length > 0) await copyChunks(this.#session, () => this.#rows(fresh));
      await client.query("COMMIT");
      this.result.written += fresh.length;
      this.result.there += letters.length - fresh.length;
      return;
    } catch (error) {
      if (!isBadRow(error)) throw error;
      await client.query("ROLLBACK");
      if (letters.length === 1) {
        const { partition, offset } = letters[0].dlq;
        this.#fail(partition, offset, rowReason(error));
        return;
      }
    }
    const middle = letters.length >>> 1;
    await this.#write(letters.slice(0, middle));
    await this.#write(letters.slice(middle));
  }

  /** Those that nobody has written, neither from here nor (by another sink) from the topic. */
  async #claim(letters: Letter[]): Promise<Letter[]> {
    const { rows } = await this.#session.client.query<{ offset: string }>(claimLetters, [
      letters.map(({ dlq }) => dlq.topicId),
      letters.map(({ dlq }) => dlq.partition),
      letters.map(({ dlq }) => dlq.offset),
      letters.map(({ topic }) => topic),
      letters.map(({ partition }) => partition),
      letters.map(({ offset }) => offset),
      letters.map(({ received }) => received),
      letters.map(({ id }) => id),
      letters.map(({ ts }) => ts),
    ]);
    const claimed = new Set(rows.map(({ offset }) => Number(offset)));
    return letters.filter(({ dlq }) => claimed.has(dlq.offset));
  }

  *#rows(letters: Letter[]): Generator<Buffer> {
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
