/**
 * Writes blocks of rows into a Parquet file: through DuckDB's memory, since that is where its
 * writer takes rows from. One file at a time; DuckDB works on a thread of its own.
 */
import { DuckDBInstance, DuckDBTableFunction } from "@duckdb/node-api";
import type { DuckDBConnection, DuckDBDataChunk, DuckDBType } from "@duckdb/node-api";
import { BIGINT, DOUBLE, FLOAT, TIMESTAMPTZ, UBIGINT, VARCHAR, version } from "@duckdb/node-api";
import duckdb from "@duckdb/node-bindings";
import { limits } from "../model/limits.ts";
import type { FileNote } from "./parquet-folder.ts";
import { blockRows, type RowBlock } from "./row-block.ts";
import { SinkFailure } from "./target.ts";

/** A call for each text would cost more than all the rest: one that is short is two pieces. */
const pieceBytes = 12;
const cellBytes = 16;

const columns: readonly [string, DuckDBType][] = [
  ["ts", TIMESTAMPTZ],
  ["received", TIMESTAMPTZ],
  ["k_offset", BIGINT],
  ["h3", UBIGINT],
  ["lat", DOUBLE],
  ["lon", DOUBLE],
  ["speed", FLOAT],
  ["heading", FLOAT],
  ["accuracy", FLOAT],
  ["altitude", FLOAT],
  ["battery", FLOAT],
  ["id1", VARCHAR],
  ["id2", VARCHAR],
  ["trip1", VARCHAR],
  ["trip2", VARCHAR],
  ["extra1", VARCHAR],
  ["extra2", VARCHAR],
];
const numbers = 11;

/** One driver's rows stand together: that is smaller, and what is asked for most. */
const select = (topic: string, partition: number): string => `
  SELECT ts, id1 || id2 AS id, lat, lon,
    nullif(speed, 'NaN') AS speed, nullif(heading, 'NaN') AS heading,
    nullif(accuracy, 'NaN') AS accuracy, nullif(altitude, 'NaN') AS altitude,
    nullif(battery, 'NaN') AS battery, trip1 || trip2 AS trip, h3, extra1 || extra2 AS extra,
    received AS received_at, ${literal(topic)} AS k_topic, ${partition}::INTEGER AS k_partition,
    k_offset
  FROM held() ORDER BY id, k_offset`;

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

export function duckDBVersion(): string {
  return version();
}

/** An instance of its own, with no more memory than it may have. */
export async function openDuckDB(memoryBytes: number, threads: number): Promise<DuckDBInstance> {
  const memory = `${Math.floor(memoryBytes / 2 ** 20)}MiB`;
  return DuckDBInstance.create(":memory:", { memory_limit: memory, threads: String(threads) });
}

export class ParquetWriter {
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;
  #blocks: IterableIterator<RowBlock> = [].values();
  /** Cells of one column of texts: a length, and so many bytes in place. */
  readonly #cells = [new Uint8Array(cellBytes * blockRows), new Uint8Array(cellBytes * blockRows)];

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#instance = instance;
    this.#connection = connection;
  }

  static async open(): Promise<ParquetWriter> {
    const instance = await openDuckDB(limits.parquetWriterBytesMax, 1);
    const connection = await instance.connect();
    await connection.run("SET TimeZone = 'UTC'");
    await connection.run("SET temp_directory = ''");
    const writer = new ParquetWriter(instance, connection);
    writer.#register();
    return writer;
  }

  /** The note stands in the file's footer. */
  async write(
    file: string,
    { topic, partition }: { topic: string; partition: number },
    blocks: RowBlock[],
    note: FileNote,
  ): Promise<void> {
    const texts = { topic, partition, ...note };
    const pairs = Object.entries(texts).map(([name, text]) => `'${name}': ${literal(`${text}`)}`);
    this.#blocks = blocks.values();
    await this.#connection.run(
      `COPY (${select(topic, partition)}) TO ${literal(file)} (FORMAT parquet, ` +
        `COMPRESSION zstd, PARQUET_VERSION V2, KV_METADATA {${pairs.join(", ")}})`,
    );
  }

  /** What `write` put into a file's footer. */
  async noteOf(file: string): Promise<FileNote> {
    const note = Object.fromEntries(await this.#pairsOf(file));
    const { topicId, group } = note;
    const [start, end] = [Number(note["start"]), Number(note["end"])];
    if (topicId !== undefined && group !== undefined && end > start) {
      return { topicId, group, start, end };
    }
    throw new SinkFailure(`${file} is not what a sink has written: move it out of the way`);
  }

  async #pairsOf(file: string): Promise<[string, string][]> {
    const sql =
      "SELECT decode(key), decode(value) " +
      `FROM parquet_kv_metadata(${literal(file.replace(/[[*?]/g, "[$&]"))})`;
    try {
      return (await this.#connection.runAndReadAll(sql)).getRows() as [string, string][];
    } catch (error) {
      // no Parquet at all
      if ((error as Error).message.startsWith("Invalid Input Error")) return [];
      throw error;
    }
  }

  close(): void {
    this.#connection.closeSync();
    this.#instance.closeSync();
  }

  /** `held()`: DuckDB asks for a block at a time. */
  #register(): void {
    const held = DuckDBTableFunction.create({
      name: "held",
      bindFunction: (bind) => {
        for (const [name, type] of columns) bind.addResultColumn(name, type);
      },
      initFunction: (init) => init.setMaxThreads(1),
      mainFunction: (_info, chunk) => {
        const { value } = this.#blocks.next();
        if (value === undefined) chunk.rowCount = 0;
        else this.#fill(chunk, value);
      },
    });
    this.#connection.registerTableFunction(held);
  }

  #fill(chunk: DuckDBDataChunk, block: RowBlock): void {
    chunk.rowCount = block.rows;
    const { ts, received, offset, h3, lat, lon } = block;
    const { speed, heading, accuracy, altitude, battery } = block;
    const parts = [ts, received, offset, h3, lat, lon, speed, heading, accuracy, altitude, battery];
    const vectors = columns.map((_, i) => duckdb.data_chunk_get_vector(chunk.chunk, i));
    for (const [i, part] of parts.entries()) copy(vectors[i], part, block.rows);
    for (let column = 0; column < 3; column++) {
      const at = numbers + 2 * column;
      this.#fillText(block, column, vectors[at], vectors[at + 1]);
    }
  }

  #fillText(block: RowBlock, column: number, one: duckdb.Vector, two: duckdb.Vector): void {
    const { rows, texts, lengths, starts } = block;
    const [first, second] = this.#cells;
    const long: [row: number, start: number, end: number][] = [];
    const nulls: number[] = [];
    for (let i = 0; i < rows; i++) {
      const length = lengths[3 * i + column];
      let start = starts[i];
      for (let before = 0; before < column; before++) start += Math.max(0, lengths[3 * i + before]);
      if (length < 0) nulls.push(i);
      const fits = isShort(texts, start, length);
      if (!fits) long.push([i, start, start + length]);
      const inline = fits ? Math.max(0, length) : 0;
      const split = Math.min(inline, pieceBytes);
      fillCell(first, i, texts, start, split);
      fillCell(second, i, texts, start + split, inline - split);
    }
    copy(one, first, rows);
    copy(two, second, rows);
    for (const [i, start, end] of long) {
      duckdb.vector_assign_string_element_len(one, i, texts.subarray(start, end));
    }
    if (nulls.length > 0) setNulls(one, nulls);
  }
}

/** A piece has to be text by itself, so what is not ASCII is not cut. */
function isShort(texts: Uint8Array, start: number, length: number): boolean {
  if (length > 2 * pieceBytes) return false;
  for (let k = start; k < start + length; k++) if (texts[k] > 0x7f) return false;
  return true;
}

/** duckdb_string_t: a text of 12 bytes at most stands in its cell, behind its length. */
function fillCell(
  cells: Uint8Array,
  i: number,
  texts: Uint8Array,
  start: number,
  length: number,
): void {
  const at = cellBytes * i;
  cells[at] = length;
  for (let k = 0; k < pieceBytes; k++) cells[at + 4 + k] = k < length ? texts[start + k] : 0;
}

function copy(vector: duckdb.Vector, part: ArrayBufferView, rows: number): void {
  const bytes = (part.byteLength / blockRows) * rows;
  duckdb.copy_data_to_vector(vector, 0, part.buffer as ArrayBuffer, part.byteOffset, bytes);
}

function setNulls(vector: duckdb.Vector, rows: number[]): void {
  const valid = new Uint8Array(blockRows / 8).fill(0xff);
  for (const i of rows) valid[i >>> 3] &= ~(1 << (i & 7));
  duckdb.vector_ensure_validity_writable(vector);
  duckdb.copy_data_to_vector_validity(vector, 0, valid.buffer, 0, valid.byteLength);
}
