/** Pings as documents: what is no field of a ping is in `extra`, as in a table. */
import { Long } from "mongodb";
import type { RecordCursor } from "../batch/records.ts";
import { limits } from "../model/limits.ts";
import { CellCache } from "../partitions/cell.ts";
import { murmur2 } from "../partitions/murmur2.ts";
import type { RowEncoder } from "./database.ts";
import { cellResolution, PingRow } from "./ping-row.ts";

/** What a ping does not have is not there. */
export type PingDocument = {
  /** Its place in the log, and when it was received: that tells a topic from one made anew. */
  _id: string;
  ts: Date;
  id: string;
  location: { type: "Point"; coordinates: [number, number] };
  speed?: number;
  heading?: number;
  accuracy?: number;
  altitude?: number;
  battery?: number;
  trip?: string;
  h3: string;
  extra?: Record<string, unknown>;
  received_at: Date;
  k_topic: string;
  k_partition: number;
  k_offset: number;
};

const numbers = ["speed", "heading", "accuracy", "altitude", "battery"] as const;
/** ms: what a Date holds. */
const timeMsMax = 8.64e15;
/** Whether a number may be more than a double holds exactly. */
const longNumber = /\d{16}|\d[eE]/;

/** Newer than TypeScript's library. */
const exact = JSON as unknown as {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { source: string }) => unknown,
  ): Record<string, unknown>;
};

type Place = { topic: string; partition: number; offset: number; received: number };

export function idOf({ topic, partition, offset, received }: Place): string {
  return `${topic}/${partition}/${offset}/${received}`;
}

export class MongoEncoder implements RowEncoder<PingDocument[]> {
  readonly #row = new PingRow();
  readonly #cells = new CellCache(cellResolution, undefined, "hex", limits.sinkCellsMax);
  #documents: PingDocument[] = [];
  #topic = "";
  #partition = 0;

  begin(): void {
    this.#documents = [];
  }

  refuses(row: PingRow): string | null {
    return badTime(row) ?? (extraOf(row) === "infinite" ? outOfRange : null);
  }

  from(topic: string, partition: number): void {
    this.#topic = topic;
    this.#partition = partition;
  }

  put(record: RecordCursor, offset: number = record.offset): string | null {
    const reason = this.#row.read(record) ?? badTime(this.#row);
    if (reason !== null) return reason;
    const extra = extraOf(this.#row);
    if (extra === "infinite") return outOfRange;
    this.#documents.push(this.#document(this.#row, offset, extra));
    return null;
  }

  full(): PingDocument[] | null {
    return this.#documents.length >= limits.documentsAtOnce ? this.end() : null;
  }

  end(): PingDocument[] {
    const documents = this.#documents;
    this.#documents = [];
    return documents;
  }

  #document(row: PingRow, offset: number, extra: PingDocument["extra"]): PingDocument {
    const [topic, partition] = [this.#topic, this.#partition];
    const { received } = row;
    const hash = murmur2(row.id, row.idStart, row.idEnd);
    const document: PingDocument = {
      _id: idOf({ topic, partition, offset, received }),
      ts: new Date(Math.floor(row.ts)),
      id: text(row.id, row.idStart, row.idEnd),
      location: { type: "Point", coordinates: [row.lon, row.lat] },
      h3: Buffer.from(this.#cells.cellOf(hash, row.lat, row.lon)).toString("latin1"),
      received_at: new Date(received),
      k_topic: topic,
      k_partition: partition,
      k_offset: offset,
    };
    for (const name of numbers) if (!Number.isNaN(row[name])) document[name] = row[name];
    if (row.tripStart >= 0) document.trip = text(row.trip, row.tripStart, row.tripEnd);
    if (extra !== undefined) document.extra = extra;
    return document;
  }
}

const outOfRange = "extra: number out of range";

function badTime({ ts, received }: PingRow): string | null {
  if (Math.abs(ts) > timeMsMax) return "ts: time out of range";
  return Math.abs(received) > timeMsMax ? "receive time out of range" : null;
}

function text(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString();
}

/** Whole numbers of 64 bits stay what they are. */
function extraOf(row: PingRow): Record<string, unknown> | "infinite" | undefined {
  if (row.extraStart === row.extraEnd) return undefined;
  const json = `{${text(row.extra, row.extraStart, row.extraEnd)}}`;
  if (!longNumber.test(json)) return JSON.parse(json);
  let infinite = false;
  const parsed = exact.parse(json, (_key, value, { source }) => {
    if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
    if (!Number.isFinite(value)) infinite = true;
    if (!/^-?\d+$/.test(source)) return value;
    const whole = BigInt(source);
    return BigInt.asIntN(64, whole) === whole ? Long.fromBigInt(whole) : value;
  });
  return infinite ? "infinite" : parsed;
}
