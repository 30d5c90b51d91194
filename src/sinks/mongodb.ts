/**
 * MongoDB: a document a ping, whose `_id` is its place in the log. There is no transaction, since a
 * server alone has none: documents are written before offsets are moved, and what is written again
 * is the same document.
 */
import {
  type Collection,
  type Db,
  MongoBulkWriteError,
  MongoClient,
  type WriteConcernSettings,
} from "mongodb";
import { mapSome } from "../lib/map-some.ts";
import type { Database, Letter, Move, OffsetRow, Session } from "./database.ts";
import { idOf, MongoEncoder, type PingDocument } from "./mongodb-documents.ts";
import { asFailure, BadDocument, documentCodes, DUPLICATE, rowReason } from "./mongodb-errors.ts";
import type { Taken } from "./target.ts";

const connectMs = 10_000;
const looksAtOnce = 16;

/** Of a replica set the most have it; where an offset is moved, it is also in the journal. */
const writeConcern = { w: "majority" } as const;
const journaled: WriteConcernSettings = { w: "majority", journal: true };

type OffsetDocument = {
  _id: string;
  sink: string;
  topic: string;
  topic_id: string;
  partition: number;
  next_offset: number;
  epoch: number;
};

/** `say`: what a server cannot do is told. */
export function mongodb(url: string, say: (line: string) => void): Database<PingDocument[]> {
  return {
    connect: (options) => MongoSession.open({ url, say, ...options }),
    isBadRow: (error) => error instanceof BadDocument,
    rowReason,
    asFailure,
    forgetCommand: (where) => `db.milepost_offsets.deleteMany(${JSON.stringify(where)})`,
  };
}

class MongoSession implements Session<PingDocument[]> {
  readonly encoder = new MongoEncoder();
  readonly #client: MongoClient;
  readonly #sink: string;
  readonly #positions: Collection<PingDocument>;
  readonly #offsets: Collection<OffsetDocument>;

  /** Letters since `begin`, and those of before that may be in though they were rolled back. */
  #claimed: string[] = [];
  readonly #inAlready = new Set<string>();

  private constructor(client: MongoClient, sink: string) {
    this.#client = client;
    this.#sink = sink;
    this.#positions = client.db().collection("positions");
    this.#offsets = client.db().collection("milepost_offsets");
  }

  static async open(options: {
    url: string;
    sink: string;
    createSchema: boolean;
    say: (line: string) => void;
  }): Promise<MongoSession> {
    const client = new MongoClient(options.url, {
      appName: `milepost ${options.sink}`.slice(0, 63),
      serverSelectionTimeoutMS: connectMs,
      connectTimeoutMS: connectMs,
      writeConcern,
    });
    try {
      await client.connect();
      if (options.createSchema) await createIndexes(client.db(), options.say);
      return new MongoSession(client, options.sink);
    } catch (error) {
      await client.close(true);
      throw error;
    }
  }

  async begin(): Promise<void> {
    this.#claimed = [];
  }

  async commit(): Promise<void> {
    for (const id of this.#claimed) this.#inAlready.delete(id);
  }

  async rollback(): Promise<void> {
    for (const id of this.#claimed) this.#inAlready.add(id);
  }

  async savepoint(): Promise<void> {}
  async rollbackToSavepoint(): Promise<void> {}

  async put(chunks: () => Iterable<PingDocument[]>): Promise<void> {
    for (const documents of chunks()) {
      if (documents.length > 0) await this.#insert(documents);
    }
  }

  /** All that the server takes; throws a `BadDocument` if there is one that it does not. */
  async #insert(documents: PingDocument[]): Promise<void> {
    try {
      await this.#positions.insertMany(documents, { ordered: false });
      return;
    } catch (error) {
      if (!(error instanceof MongoBulkWriteError)) throw error;
      const errors = [error.writeErrors].flat();
      const other = errors.find(({ code }) => !documentCodes.has(code as number));
      if (errors.length === 0 || other !== undefined) throw error;
      const bad = errors.find(({ code }) => code !== DUPLICATE);
      if (bad !== undefined) throw new BadDocument(bad.code as number, bad.errmsg ?? "");
      const twice = errors.map(({ index }) => documents[index]._id);
      // of those that are not there an index of the collection's own has another
      const there = await this.#positions.countDocuments({ _id: { $in: twice } });
      if (there < new Set(twice).size) {
        throw new BadDocument(DUPLICATE, errors[0].errmsg ?? "duplicate key");
      }
    }
  }

  async mend(): Promise<boolean> {
    return false;
  }

  async offsets(): Promise<OffsetRow[]> {
    return (await this.#offsets.find({ sink: this.#sink }).toArray()).map(offsetRow);
  }

  async take(partitions: Taken[]): Promise<OffsetRow[]> {
    const rows: OffsetRow[] = [];
    for (const { topic, topicId, partition, first } of partitions) {
      const key = { _id: this.#key(topicId, partition) };
      const fresh = { sink: this.#sink, topic, topic_id: topicId, partition, next_offset: first };
      const found = await this.#offsets.findOneAndUpdate(
        key,
        { $inc: { epoch: 1 }, $setOnInsert: fresh },
        { upsert: true, returnDocument: "after", writeConcern: journaled },
      );
      if (found !== null) rows.push(offsetRow(found));
    }
    return rows;
  }

  async move(moves: Move[]): Promise<{ topicId: string; partition: number }[]> {
    const moved: Move[] = [];
    for (const move of moves) {
      const { topicId, partition, next, until, epoch } = move;
      const { matchedCount } = await this.#offsets.updateOne(
        // there already: a try before this one, of which only some came through
        { _id: this.#key(topicId, partition), epoch, next_offset: { $in: [next, until] } },
        { $set: { next_offset: until } },
        { writeConcern: journaled },
      );
      if (matchedCount === 1) moved.push(move);
    }
    return moved;
  }

  #key(topicId: string, partition: number): string {
    return `${this.#sink}/${topicId}/${partition}`;
  }

  async newest(ids: string[], each: number): Promise<{ id: string; ms: number }[]> {
    const found = await mapSome(ids, looksAtOnce, (id) =>
      this.#positions
        .find({ id }, { projection: { ts: 1 } })
        .sort({ ts: -1 })
        .limit(each)
        .map(({ ts }) => ({ id, ms: ts.getTime() }))
        .toArray(),
    );
    return found.flat().sort((a, b) => a.ms - b.ms);
  }

  /** The `_id` is all that is needed. */
  async claim(letters: Letter[]): Promise<Letter[]> {
    const _id = { $in: letters.map(idOf) };
    const found = await this.#positions.find({ _id }, { projection: { _id: 1 } }).toArray();
    const there = new Set(found.map((document) => document._id));
    for (const id of this.#inAlready) there.delete(id);
    const claimed = letters.filter((letter) => {
      const id = idOf(letter);
      if (there.has(id)) return false;
      // of two letters of one record the second
      there.add(id);
      return true;
    });
    this.#claimed = claimed.map(idOf);
    return claimed;
  }

  async close(now: boolean): Promise<void> {
    await this.#client.close(now).catch(() => {});
  }
}

function offsetRow({ topic, topic_id: topicId, partition, next_offset, epoch }: OffsetDocument) {
  return { topic, topicId, partition, next: next_offset, epoch };
}

async function createIndexes(db: Db, say: (line: string) => void): Promise<void> {
  const positions = db.collection("positions");
  await positions.createIndex({ id: 1, ts: -1 });
  try {
    await positions.createIndex({ location: "2dsphere" });
  } catch (error) {
    // servers that only speak MongoDB's protocol have none
    if (asFailure(error) !== error) throw error;
    say(`no 2dsphere index: ${(error as Error).message}`);
  }
}
