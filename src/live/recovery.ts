/**
 * What a rider missed of a driver, by the place in the stream where it left off: from the history
 * in memory, else from the log through its index of keys, within bounds; never a part of it.
 *
 * A publication's offset is its ping's in the log plus one, so whoever has seen offset N goes on
 * with the ping N of the log.
 */
import { isControl } from "../batch/header.ts";
import { RecordCursor } from "../batch/records.ts";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import type { Channel } from "./channel.ts";
import type { DriverTable } from "./drivers.ts";
import type { History, HistoryEntry } from "./history.ts";
import { LivePing } from "./live-ping.ts";
import { isKey, type Positions } from "./positions.ts";
import type { Followed, Tracker } from "./tracker.ts";

export type StreamPosition = { epoch: string; offset: number };

export type RecoveryOptions = {
  positions: Positions;
  tracker: Tracker;
  drivers: DriverTable;
  history: History;
  now: () => number;
};

export class Recovery {
  readonly #o: RecoveryOptions;
  /** Reading the log now, and who waits for that in the order they came. */
  #reading = 0;
  readonly #waiting = new Set<() => void>();

  constructor(options: RecoveryOptions) {
    this.#o = options;
  }

  /**
   * Names a partition of this very log: the same after a restart, another for a topic made anew
   * and after a start that found its end gone.
   */
  epochOf(partition: number): string {
    const { topic } = this.#o.tracker;
    const id = topic?.id.slice(0, 8) ?? "none";
    return `${partition}.${id}${topic?.losses === undefined ? "" : `.${topic.losses}`}`;
  }

  /** The end of a driver's stream, as far as it is known here. */
  end(channel: Channel): StreamPosition {
    const { partition, row } = channel;
    const known = row < 0 ? -1 : this.#o.drivers.offset[row];
    const offset = known < 0 ? this.#followed(partition).applied : known + 1;
    return { epoch: this.epochOf(partition), offset };
  }

  /**
   * Everything of a driver's channel behind `since`, oldest first; null when that cannot be had in
   * full. The channel must be open: what is published meanwhile is in the answer. Not `isWanted`:
   * nobody waits for it any more, and others do.
   */
  async missed(
    channel: Channel,
    since: StreamPosition,
    isWanted: () => boolean = () => true,
  ): Promise<HistoryEntry[] | null> {
    const { partition } = channel;
    if (since.epoch !== this.epochOf(partition)) return null;
    const from = since.offset;
    const { tracker } = this.#o;
    if (!(await tracker.waitFor(partition, from, limits.recoveryMsMax))) return null;
    const recent = this.#recent(channel, from);
    if (recent !== null) return recent;
    // what is in the log now, and from the history what is published while that is read
    const to = this.#followed(partition).applied;
    const read = await this.#readLog(channel, partition, from, to, isWanted);
    if (read === null || since.epoch !== this.epochOf(partition)) return null;
    const rest = this.#recent(channel, to);
    if (rest === null || read.length + rest.length > limits.recoveredMax) return null;
    return [...read, ...rest];
  }

  /** The newest publications, oldest first. */
  async newest(channel: Channel, max: number): Promise<HistoryEntry[]> {
    const { row } = channel;
    if (row < 0) return [];
    const { entries } = this.#o.history.since(row, 0, max);
    if (entries.length >= max) return entries;
    const { partition } = channel;
    const to = this.#followed(partition).applied;
    const { historyLookBack, historyScanBack } = limits;
    const back = this.#o.positions.isScanned ? historyScanBack : historyLookBack;
    const from = Math.max(0, to - back);
    const read = (await this.#readLog(channel, partition, from, to)) ?? [];
    return [...read, ...(this.#recent(channel, to) ?? [])].slice(-max);
  }

  #recent(channel: Channel, from: number): HistoryEntry[] | null {
    if (channel.completeFrom > from) return null;
    if (channel.row < 0) return [];
    const { history } = this.#o;
    const { entries, complete } = history.since(channel.row, from, limits.recoveredMax);
    return complete ? entries : null;
  }

  async #readLog(
    channel: Channel,
    partition: number,
    from: number,
    to: number,
    isWanted: () => boolean = () => true,
  ): Promise<HistoryEntry[] | null> {
    const { spec } = channel;
    const until = performance.now() + limits.recoveryMsMax;
    if (spec.kind !== "driver" || !(await this.#turn())) return null;
    try {
      const key = Buffer.from(spec.id);
      const goesOn = (): boolean => isWanted() && performance.now() <= until;
      return await this.#read(key, channel.row, partition, from, to, goesOn);
    } catch (error) {
      // retention was faster, or bytes are damaged: not all of it can be had
      if (error instanceof MilepostError) return null;
      throw error;
    } finally {
      this.#over();
    }
  }

  /** After a restart everybody comes at once. False: it did not come in time. */
  #turn(): Promise<boolean> {
    if (this.#reading < limits.recoveriesAtOnce) {
      this.#reading++;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const begin = (): void => {
        clearTimeout(timer);
        resolve(true);
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(begin);
        resolve(false);
      }, limits.recoveryMsMax);
      this.#waiting.add(begin);
    });
  }

  #over(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#reading--;
    } else {
      this.#waiting.delete(next);
      next();
    }
  }

  async #read(
    key: Buffer,
    row: number,
    partition: number,
    from: number,
    to: number,
    goesOn: () => boolean,
  ): Promise<HistoryEntry[] | null> {
    const entries: ReadEntry[] = [];
    let bytes = 0;
    let next = from;
    while (next < to) {
      if (!goesOn()) return null;
      const read = await this.#o.positions.batches(partition, key, next, to, READ_BYTES);
      if (read.start > next) return null;
      for (const batch of read.batches) {
        bytes += batch.byteLength;
        collect(batch, key, next, to, this.#o.now(), entries);
      }
      const isTooMuch = bytes > limits.recoveryBytesMax || entries.length > limits.recoveredMax;
      if (isTooMuch) return null;
      next = Math.max(read.next, next + 1);
    }
    markLate(entries, row < 0 ? Infinity : this.#o.drivers.offset[row]);
    return entries;
  }

  #followed(partition: number): Pick<Followed, "applied"> {
    return this.#o.tracker.partitions[partition] ?? { applied: 0 };
  }
}

/** Of the log, in one request. */
const READ_BYTES = 1024 * 1024;

type ReadEntry = HistoryEntry & { fix: number };

/** The pings of a driver in a batch, with offsets of `from` to `to`. */
function collect(
  batch: Uint8Array,
  key: Buffer,
  from: number,
  to: number,
  nowMs: number,
  entries: ReadEntry[],
): void {
  if (isControl(batch)) return;
  const cursor = new RecordCursor();
  const ping = new LivePing();
  try {
    cursor.open(batch);
    while (cursor.next()) {
      const { offset } = cursor;
      if (offset < from || offset >= to) continue;
      if (!isKey(cursor, key) || !ping.read(cursor, nowMs)) continue;
      const json = ping.json();
      entries.push({ offset, json, received: ping.received, late: false, fix: ping.fix });
    }
  } catch (error) {
    // what a producer called compressed, and is not: nobody was told of it
    if (!(error instanceof MilepostError)) throw error;
  }
}

/**
 * The log does not say which pings were late. All are when the latest of the driver came before
 * them; else those with an older fix than one before them.
 */
function markLate(entries: ReadEntry[], latest: number): void {
  let newest = entries.length > 0 && latest < entries[0].offset ? Infinity : -Infinity;
  for (const entry of entries) {
    entry.late = entry.fix < newest;
    newest = Math.max(newest, entry.fix);
  }
}
