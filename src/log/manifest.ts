/**
 * `meta.mdb`: which topics there are and which slices of them live. A slice that is not listed
 * does not exist, so one transaction here makes a roll, a deletion or a compaction happen.
 */
import { randomUUID } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { MilepostError } from "../model/errors.ts";
import { openToWrite, put, transact, type Environment } from "./environment.ts";
import { LmdbFile } from "./lmdb-file.ts";
import { decodeSealed, encodeSealed } from "./slice-header.ts";

/** Of everything under the data directory. A newer one is refused. 2: slices index their keys. */
export const FORMAT = 2;
const MAP_BYTES = 64 * 1024 * 1024;

export type TopicRow = {
  name: string;
  id: string;
  partitions: number;
  config: Record<string, string>;
  /** Name of its directory under `topics/`. */
  dir: string;
  /** How often a start found that something of its end was gone; missing: never. */
  losses?: number;
  /** Number of the next slice's file. */
  nextSeq: number;
  /** Ranges [from, to) that an operator had readers skip: partition, from, to. */
  skips: [partition: number, from: number, to: number][];
};

/** `open` takes appends; `rolled` is complete but its table is not yet; `sealed` has it. */
export type SliceState = "open" | "rolled" | "sealed";

export type SliceRow = {
  seq: number;
  /** How often compaction has rewritten it: its file has another name each time. */
  generation: number;
  state: SliceState;
  flushed: boolean;
  compacted: boolean;
  createdMs: number;
  firstAppendMs: number;
  newestAppendMs: number;
  batches: number;
  /** Per partition; only `starts` is right while the slice is open. */
  starts: number[];
  ends: number[];
  maxTimestamps: number[];
  bytes: number[];
};

/** Of a slice that begins now. */
export function emptyRow(seq: number, flushed: boolean, starts: number[], nowMs: number): SliceRow {
  return {
    seq,
    generation: 0,
    state: "open",
    flushed,
    compacted: false,
    createdMs: nowMs,
    firstAppendMs: 0,
    newestAppendMs: 0,
    batches: 0,
    starts,
    ends: [...starts],
    maxTimestamps: starts.map(() => -1),
    bytes: starts.map(() => 0),
  };
}

export type NodeRow = {
  format: number;
  nodeId: string;
  /** Leader epoch of the current start, one more at every start. */
  epoch: number;
  clean: boolean;
  /** Ids below were given to idempotent producers; missing: none was. */
  nextProducerId?: number;
};

type Change = { key: string; value: object | null };

export type ManifestRows = {
  /** Null: a new directory. */
  node: NodeRow | null;
  topics: Map<string, TopicRow>;
  /** By topic id, ascending by seq. */
  slices: Map<string, SliceRow[]>;
  /** Directories of deleted topics that may still be there, by topic id. */
  deleted: Map<string, string>;
};

/** Throws `newer_format`, and `damaged` for a row that fails its checksum. */
export function readRows(
  entries: Iterable<{ key: Uint8Array; value: Uint8Array }>,
  path: string,
): ManifestRows {
  const rows: ManifestRows = {
    node: null,
    topics: new Map(),
    slices: new Map(),
    deleted: new Map(),
  };
  for (const { key, value } of entries) {
    const [kind, topicId] = Buffer.from(key).toString().split("/");
    const row = decodeSealed<object>(value);
    if (row === null) throw new MilepostError("damaged", `${path}: a row fails its checksum`);
    if (kind === "node") {
      rows.node = row as NodeRow;
    } else if (kind === "t") {
      rows.topics.set(topicId, row as TopicRow);
    } else if (kind === "d") {
      rows.deleted.set(topicId, (row as { dir: string }).dir);
    } else if (kind === "s") {
      const list = rows.slices.get(topicId) ?? [];
      list.push(row as SliceRow);
      rows.slices.set(topicId, list);
    }
  }
  const format = rows.node?.format ?? FORMAT;
  if (format > FORMAT) {
    const detail = `${path} has format ${format}, this program knows ${FORMAT}`;
    throw new MilepostError("newer_format", detail);
  }
  return rows;
}

export class Manifest {
  readonly #env: Environment;
  readonly node: NodeRow;
  readonly topics: Map<string, TopicRow>;
  readonly slices: Map<string, SliceRow[]>;
  readonly deleted: Map<string, string>;
  #changes: Change[] = [];

  static open(path: string): Manifest {
    if (existsSync(path) && statSync(path).size > 0) checkStructure(path);
    const env = openToWrite(path, true, MAP_BYTES);
    try {
      return new Manifest(env, readRows(env.getRange({}), path));
    } catch (error) {
      void env.close();
      throw error;
    }
  }

  private constructor(env: Environment, rows: ManifestRows) {
    this.#env = env;
    const node = rows.node ?? { nodeId: randomUUID(), epoch: -1, clean: true };
    this.node = { ...node, format: FORMAT };
    this.topics = rows.topics;
    this.slices = rows.slices;
    this.deleted = rows.deleted;
  }

  putNode(row = this.node): void {
    this.#changes.push({ key: "node", value: row });
  }
  putTopic(row: TopicRow): void {
    this.#changes.push({ key: `t/${row.id}`, value: row });
  }
  /** Its directory stays named until it is gone: a crash between must not leave it in doubt. */
  removeTopic({ id, dir }: TopicRow): void {
    this.#changes.push({ key: `t/${id}`, value: null }, { key: `d/${id}`, value: { dir } });
  }
  /** The directory of a deleted topic is gone. */
  forget(id: string): void {
    this.#changes.push({ key: `d/${id}`, value: null });
  }
  putSlice(topicId: string, row: SliceRow): void {
    this.#changes.push({ key: sliceKey(topicId, row.seq), value: row });
  }
  removeSlice(topicId: string, seq: number): void {
    this.#changes.push({ key: sliceKey(topicId, seq), value: null });
  }

  /** All changes since the last commit, in one transaction, on disk when it returns. */
  commit(): void {
    const changes = this.#changes;
    this.#changes = [];
    transact(this.#env, true, () => {
      for (const { key, value } of changes) {
        if (value === null) void this.#env.remove(Buffer.from(key));
        else put(this.#env, Buffer.from(key), encodeSealed(value), false);
      }
    });
  }

  close(): void {
    void this.#env.close();
  }
}

/** LMDB follows a damaged page wherever it points. */
function checkStructure(path: string): void {
  const file = new LmdbFile(path);
  const damage = file.structureDamage() ?? file.freeListDamage();
  file.close();
  if (damage !== null) throw new MilepostError("damaged", `${path}: ${damage}`);
}

const sliceKey = (topicId: string, seq: number): string =>
  `s/${topicId}/${String(seq).padStart(10, "0")}`;

export function sliceFile({ seq, generation }: Pick<SliceRow, "seq" | "generation">): string {
  const name = String(seq).padStart(10, "0");
  return generation === 0 ? `${name}.mdb` : `${name}.${generation}.mdb`;
}
