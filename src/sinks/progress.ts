/** How far the worker is: for the terminal, the metrics, and the notes beside its commits. */
import { type Counter, durationBuckets, type Gauge, Registry } from "../metrics/registry.ts";
import type { CommitNote } from "./commit-note.ts";
import type { GroupOffset } from "./member.ts";
import { placeOf, type Safe } from "./target.ts";

type Standing = {
  topic: string;
  partition: number;
  next: number;
  end: number;
  deadLettered: number;
  rowsPerSecond: number;
  /** 0: never, and not yet. */
  wroteMs: number;
  ratedMs: number;
};

/** `note`: of the worker that had it before. */
export type Begun = { topic: string; partition: number; next: number; note: CommitNote | null };

/** A rate forgets half of what was in so many ms. */
const halfLifeMs = 5000;

export class Progress {
  readonly registry = new Registry();
  readonly retries: Counter;
  readonly #rows: Counter;
  readonly #deadLetters: Counter;
  readonly #lag: Gauge;
  readonly #lagSeconds: Gauge;
  readonly #durations;
  readonly #standings = new Map<string, Standing>();
  readonly #ends = new Map<string, number>();
  /** Receive time of the newest row written. */
  #newestMs = 0;

  constructor() {
    const { registry } = this;
    this.#rows = registry.counter("milepost_sink_rows_total", "Rows in the database.");
    this.#deadLetters = registry.counter(
      "milepost_sink_dead_letter_total",
      "Records that went to positions.dlq.",
    );
    this.retries = registry.counter("milepost_sink_retries_total", "Tries that failed.");
    this.#lag = registry.gauge("milepost_sink_lag_records", "Records not written yet.");
    this.#lagSeconds = registry.gauge(
      "milepost_sink_lag_seconds",
      "Age of the newest row, while there are records behind it.",
    );
    this.#durations = registry.histogram(
      "milepost_sink_batch_duration_seconds",
      "From a batch to its commit.",
      durationBuckets,
    );
    registry.onSnapshot(() => {
      this.#lag.value = this.lag;
      this.#lagSeconds.value = this.lagSeconds(Date.now());
    });
  }

  get rows(): number {
    return this.#rows.value;
  }

  get deadLettered(): number {
    return this.#deadLetters.value;
  }

  get partitions(): number {
    return this.#standings.size;
  }

  get lag(): number {
    let lag = 0;
    for (const { next, end } of this.#standings.values()) lag += Math.max(0, end - next);
    return lag;
  }

  lagSeconds(nowMs: number): number {
    return this.lag === 0 || this.#newestMs === 0 ? 0 : Math.max(0, nowMs - this.#newestMs) / 1000;
  }

  /** What is ours from now on. */
  begin(partitions: Begun[]): void {
    this.#standings.clear();
    for (const { topic, partition, next, note } of partitions) {
      const place = `${topic}/${partition}`;
      this.#standings.set(place, {
        topic,
        partition,
        next,
        end: this.#ends.get(place) ?? next,
        deadLettered: note?.deadLettered ?? 0,
        rowsPerSecond: 0,
        wroteMs: note?.at ?? 0,
        ratedMs: 0,
      });
    }
  }

  /** High watermarks, by place. */
  seen(ends: Map<string, number>): void {
    for (const [place, end] of ends) {
      this.#ends.set(place, end);
      const standing = this.#standings.get(place);
      if (standing !== undefined) standing.end = end;
    }
  }

  /** What to tell the group. */
  wrote(safe: Safe[], tookMs: number, nowMs: number): GroupOffset[] {
    this.#durations.observe(tookMs / 1000);
    const places = new Set<string>();
    for (const { topic, partition, next, rows, deadLettered, newestMs } of safe) {
      this.#newestMs = Math.max(this.#newestMs, newestMs);
      const place = placeOf({ topic, partition });
      const standing = this.#standings.get(place);
      this.#rows.value += rows;
      this.#deadLetters.value += deadLettered;
      if (standing === undefined) continue;
      places.add(place);
      standing.next = next;
      standing.deadLettered += deadLettered;
      rate(standing, rows, nowMs);
    }
    return this.offsets().filter((offset) => places.has(placeOf(offset)));
  }

  offsets(): GroupOffset[] {
    return [...this.#standings.values()].map((standing) => {
      const { topic, partition, next, deadLettered, wroteMs } = standing;
      const rowsPerSecond = Math.round(standing.rowsPerSecond * 10) / 10;
      return { topic, partition, next, note: { rowsPerSecond, deadLettered, at: wroteMs } };
    });
  }
}

function rate(standing: Standing, rows: number, nowMs: number): void {
  if (standing.ratedMs > 0) {
    const sinceMs = Math.max(1, nowMs - standing.ratedMs);
    const keep = 2 ** (-sinceMs / halfLifeMs);
    standing.rowsPerSecond = keep * standing.rowsPerSecond + ((1 - keep) * rows * 1000) / sinceMs;
  }
  standing.ratedMs = nowMs;
  standing.wroteMs = nowMs;
}
