/**
 * What `Transactional` asks of a database. `Chunk` is what its encoder makes of rows: bytes of a
 * bulk format, or documents.
 */
import type { RecordCursor } from "../batch/records.ts";
import type { PingRow } from "./ping-row.ts";
import type { Taken, TopicPartition } from "./target.ts";

export interface RowEncoder<Chunk> {
  begin(): void;
  /** Why a ping is no row of this database; null when it is one. */
  refuses(row: PingRow): string | null;
  /** Of the records that follow. */
  from(topic: string, partition: number): void;
  /** Reads the record and, when it is a row, writes it; else gives back why it is none. */
  put(record: RecordCursor, offset?: number): string | null;
  /** A chunk that is full, if one is. */
  full(): Chunk | null;
  end(): Chunk;
}

/** A row of `milepost_offsets`. */
export type OffsetRow = TopicPartition & { next: number; epoch: number };
export type Move = OffsetRow & { until: number };

/** A dead letter: its own place, the record's, and what finds the record's row. */
export type Letter = {
  dlq: { topicId: string; partition: number; offset: number };
  topic: string;
  partition: number;
  offset: number;
  received: number;
  id: string;
  ts: number;
};

/** One connection. After an error that no method below explains it is closed. */
export interface Session<Chunk> {
  readonly encoder: RowEncoder<Chunk>;
  /** `probe`: to see which rows are refused, and never committed. */
  begin(probe?: boolean): Promise<void>;
  commit(): Promise<void>;
  rollback(): Promise<void>;
  savepoint(): Promise<void>;
  rollbackToSavepoint(): Promise<void>;
  /** Writes rows as they are encoded, no faster than the server takes them. */
  put(chunks: () => Iterable<Chunk>): Promise<void>;
  /** Outside a transaction: whether what `put` failed of was in its own hands and is put right. */
  mend(error: unknown): Promise<boolean>;
  /** All rows of the sink. */
  offsets(): Promise<OffsetRow[]>;
  /** Inserts the rows, or raises their epochs. */
  take(partitions: Taken[]): Promise<OffsetRow[]>;
  /** Moves those that are still as they are said to be; which were. */
  move(moves: Move[]): Promise<{ topicId: string; partition: number }[]>;
  /** The newest rows of each driver, oldest first: `ms` is the fix time. */
  newest(ids: string[], each: number): Promise<{ id: string; ms: number }[]>;
  /** Notes the letters whose rows are not there, neither from here nor from the topic. */
  claim(letters: Letter[]): Promise<Letter[]>;
  /** `now`: waits for nothing. */
  close(now: boolean): Promise<void>;
}

export interface Database<Chunk> {
  connect(options: { sink: string; createSchema: boolean }): Promise<Session<Chunk>>;
  /** The row is at fault, not the table. */
  isBadRow(error: unknown): boolean;
  rowReason(error: unknown): string;
  /** A failure for what trying again cannot help; the error itself where it may. */
  asFailure(error: unknown): Error;
  /** What an operator types to delete rows of `milepost_offsets`. */
  forgetCommand(where: Record<string, string | number>): string;
}

/** The same of a database that speaks SQL. */
export function deleteOffsets(where: Record<string, string | number>): string {
  const literal = (value: string | number): string =>
    typeof value === "number" ? String(value) : `'${value.replaceAll("'", "''")}'`;
  const terms = Object.entries(where).map(([name, value]) => `${name} = ${literal(value)}`);
  return `DELETE FROM milepost_offsets WHERE ${terms.join(" AND ")};`;
}
