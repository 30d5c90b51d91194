/**
 * A slab is how an ingest worker hands batches to the log thread: shared memory, written by the
 * worker, then owned by the log thread until it answers, then the worker's again. Only the slab's
 * number crosses the port: one small message per hand-over, never per ping.
 *
 *     int32 words             | bytes
 *     [0] batches             | RecordBatch, RecordBatch, …
 *     per batch, from word 4: |
 *       topic index, partition, byte offset, byte length      (worker)
 *       base offset low, base offset high, error index, -     (log thread)
 */
const HEAD_WORDS = 4;
const ROW_WORDS = 8;
/** Topics × partitions that one slab can carry, and a batch cut short for each by its size. */
export const SLAB_BATCHES_MAX = 4096;
const TABLE_BYTES = (HEAD_WORDS + SLAB_BATCHES_MAX * ROW_WORDS) * 4;

export class Slab {
  readonly shared: SharedArrayBuffer;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;

  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.words = new Int32Array(shared, 0, TABLE_BYTES / 4);
    this.bytes = new Uint8Array(shared, TABLE_BYTES);
  }

  static create(bytes: number): Slab {
    return new Slab(new SharedArrayBuffer(TABLE_BYTES + bytes));
  }

  get batches(): number {
    return this.words[0];
  }
  set batches(n: number) {
    this.words[0] = n;
  }

  setBatch(i: number, topic: number, partition: number, offset: number, length: number): void {
    const w = HEAD_WORDS + i * ROW_WORDS;
    this.words[w] = topic;
    this.words[w + 1] = partition;
    this.words[w + 2] = offset;
    this.words[w + 3] = length;
    this.words[w + 6] = -1;
  }
  topicOf(i: number): number {
    return this.words[HEAD_WORDS + i * ROW_WORDS];
  }
  partitionOf(i: number): number {
    return this.words[HEAD_WORDS + i * ROW_WORDS + 1];
  }
  bytesOf(i: number): Uint8Array {
    const w = HEAD_WORDS + i * ROW_WORDS;
    const at = this.words[w + 2];
    return this.bytes.subarray(at, at + this.words[w + 3]);
  }

  /** `error`: index into the error table's keys, -1 = appended. */
  setResult(i: number, baseOffset: number, error: number): void {
    const w = HEAD_WORDS + i * ROW_WORDS;
    this.words[w + 4] = baseOffset | 0;
    this.words[w + 5] = Math.floor(baseOffset / 0x1_0000_0000);
    this.words[w + 6] = error;
  }
  baseOffsetOf(i: number): number {
    const w = HEAD_WORDS + i * ROW_WORDS;
    return this.words[w + 5] * 0x1_0000_0000 + (this.words[w + 4] >>> 0);
  }
  errorOf(i: number): number {
    return this.words[HEAD_WORDS + i * ROW_WORDS + 6];
  }
}
