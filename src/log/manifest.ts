/**
 * `meta.mdb`: which topics there are and which slices of them live. A slice that is not listed
 * does not exist, so one transaction here makes a roll, a deletion or a compaction happen.
 */
import { randomUUID } from "node:crypto";
import { MilepostError } from "../model/errors.ts";
import { openToWrite, openToRead, put, transact, type Environment } from "./environment.ts";
import { decodeSealed, encodeSealed } from "./slice-header.ts";

/** Of everything under the data directory. A newer one is refused. */
export const FORMAT = 1;
const MAP_BYTES = 64 * 1024 * 1024;

export type TopicRow = {
  name: string;
  id: string;
  partitions: number;
  config: Record<string, string>;
  /** Name of its directory under `topics/`. */
  dir: string;
  /** Number of the next slice's file. */
  nextSeq: number;
  /** Ranges [from, to) that an operator had readers skip: partition, from, to. */
  skips: [partition: number, from: number, to: number][];
};

/** `open` takes appends; `rolled` is complete but its table is not yet; `sealed` has it. */
export type SliceState = "open" | "rolled" | "sealed";

export type SliceRow = {
  seq: number;
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

export type NodeRow = {
  format: number;
  nodeId: string;
  /** Leader epoch of the current start, one more at every start. */
  epoch: number;
  clean: boolean;
};

type Change = { key: string; value: object | null };

export class Manifest {
  readonly #env: Environment;
  readonly node: NodeRow;
  readonly topics = new Map<string, TopicRow>();
  /** By topic id, ascending by seq. */
  readonly slices = new Map<string, SliceRow[]>();
  #changes: Change[] = [];

  private constructor(env: Environment, path: string) {
    this.#env = env;
    const node = env.get(Buffer.from("node"));
    this.node = checked(node ?? null, path, () => ({
      format: FORMAT,
      nodeId: randomUUID(),
      epoch: -1,
      clean: true,
    }));
    if (this.node.format > FORMAT) {
      const newer = `${path} has format ${this.node.format}, this program knows ${FORMAT}`;
      env.close();
      throw new MilepostError("newer_format", newer);
    }
    for (const { key, value } of env.getRange({
      start: Buffer.from("s/"),
      end: Buffer.from("u"),
    })) {
      const [kind, topicId] = Buffer.from(key).toString().split("/");
      if (kind === "t") {
        const row = checked<TopicRow>(value, path);
        this.topics.set(row.id, row);
      } else {
        const rows = this.slices.get(topicId) ?? [];
        rows.push(checked<SliceRow>(value, path));
        this.slices.set(topicId, rows);
      }
    }
  }

  static open(path: string): Manifest {
    return new Manifest(openToWrite(path, true, MAP_BYTES), path);
  }

  /** For a stopped node's directory: nothing is written. */
  static openToRead(path: string): Manifest {
    return new Manifest(openToRead(path), path);
  }

  putNode(): void {
    this.#changes.push({ key: "node", value: this.node });
  }
  putTopic(row: TopicRow): void {
    this.#changes.push({ key: `t/${row.id}`, value: row });
  }
  removeTopic(id: string): void {
    this.#changes.push({ key: `t/${id}`, value: null });
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

const sliceKey = (topicId: string, seq: number): string =>
  `s/${topicId}/${String(seq).padStart(10, "0")}`;

function checked<T>(bytes: Uint8Array | null, path: string, missing?: () => T): T {
  if (bytes === null && missing !== undefined) return missing();
  const value = decodeSealed<T>(bytes ?? undefined);
  if (value === null) throw new MilepostError("damaged", `${path}: a row fails its checksum`);
  return value;
}
