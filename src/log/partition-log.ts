/** What the log knows of one partition beside its batches. */
import { Producers } from "./producers.ts";
import type { PartitionHeader } from "./slice-header.ts";

export class PartitionLog {
  /** First offset that can be read. */
  start = 0;
  /** Offset of the next record. Moves only after the transaction that carries the data. */
  end = 0;
  highWatermark = 0;
  /** Within a commit: where the next of its batches begins. */
  pendingEnd = 0;
  /** Leader epoch and the offset it began at, ascending. */
  epochs: [epoch: number, startOffset: number][] = [];
  readonly producers = new Producers();

  /** Notes under which epoch the batch at `offset` stands. */
  noteEpoch(epoch: number, offset: number): void {
    const { epochs } = this;
    if (epochs.length === 0 || epochs[epochs.length - 1][0] < epoch) epochs.push([epoch, offset]);
  }

  epochAt(offset: number): number {
    const { epochs } = this;
    let i = epochs.length - 1;
    while (i > 0 && epochs[i][1] > offset) i--;
    return i < 0 ? -1 : epochs[i][0];
  }

  /** From the one that holds at `offset` on. */
  epochsFrom(offset: number): [epoch: number, startOffset: number][] {
    const { epochs } = this;
    let i = epochs.length - 1;
    while (i > 0 && epochs[i][1] > offset) i--;
    return epochs.slice(Math.max(i, 0));
  }

  /**
   * Where the records up to a leader epoch end, and the epoch of the last of them; null: an epoch
   * later than `current`. Source: KIP-101, KIP-279.
   */
  endOfEpoch(epoch: number, current: number): { epoch: number; offset: number } | null {
    if (epoch > current || epoch < 0) return null;
    if (epoch === current) return { epoch, offset: this.end };
    const { epochs } = this;
    const later = epochs.findIndex(([e]) => e > epoch);
    const offset = later < 0 ? this.end : epochs[later][1];
    const before = later < 0 ? epochs.length - 1 : later - 1;
    // nothing so old is known any more: its records end before the first that is
    return { epoch: before < 0 ? epoch : epochs[before][0], offset };
  }

  /** The end did not move: what a failed commit had taken is given back. */
  rollback(): void {
    this.pendingEnd = this.end;
    this.producers.rollback();
  }

  commit(): void {
    this.end = this.highWatermark = this.pendingEnd;
    this.producers.commit();
  }

  moveStart(offset: number): void {
    if (offset <= this.start) return;
    this.start = offset;
    // the epoch that holds at the new start stays
    while (this.epochs.length > 1 && this.epochs[1][1] <= offset) this.epochs.shift();
  }

  header(): PartitionHeader {
    return {
      nextOffset: this.end,
      logStart: this.start,
      highWatermark: this.highWatermark,
      epochs: this.epochs,
      producers: this.producers.rows(),
    };
  }

  restore(header: PartitionHeader): void {
    this.start = header.logStart;
    this.end = this.pendingEnd = header.nextOffset;
    this.highWatermark = header.highWatermark;
    this.epochs = header.epochs;
    this.producers.restore(header.producers);
  }
}
