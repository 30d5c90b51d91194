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
