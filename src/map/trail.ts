/** The way a driver came: its last hour out of the log, and what has come since. */
import type { Ping } from "./ping.ts";

export type Fix = { ts: number; lon: number; lat: number };

/** Drawn in one line only when the driver was heard of meanwhile. */
const GAP_MS = 5 * 60_000;
/** m/s; what is faster is no driving: the gateway flags it as a jump. */
const JUMP = 300 / 3.6;
const HOUR_MS = 3_600_000;
const METRES_PER_DEGREE = 111_195;

export class Trail {
  /** By fix time. */
  readonly fixes: Fix[] = [];

  get length(): number {
    return this.fixes.length;
  }

  /** A late fix takes its place among the others; one that is there already changes nothing. */
  add({ ts, lon, lat }: Fix | Ping): void {
    const { fixes } = this;
    let at = fixes.length;
    while (at > 0 && fixes[at - 1].ts > ts) at--;
    if (at > 0 && fixes[at - 1].ts === ts) return;
    fixes.splice(at, 0, { ts, lon, lat });
  }

  addTrack(track: Fix[]): void {
    const merged = new Map([...track, ...this.fixes].map((fix) => [fix.ts, fix]));
    const sorted = [...merged.values()].toSorted((a, b) => a.ts - b.ts);
    this.fixes.splice(0, this.fixes.length, ...sorted);
  }

  /** Forgets what is older than an hour before the newest. */
  trim(): void {
    const newest = this.fixes.at(-1);
    if (newest === undefined) return;
    const first = this.fixes.findIndex((fix) => fix.ts >= newest.ts - HOUR_MS);
    if (first > 0) this.fixes.splice(0, first);
  }

  /** Lines without the gaps in which nothing was heard. */
  lines(): Fix[][] {
    const lines: Fix[][] = [];
    let line: Fix[] = [];
    for (const fix of this.fixes) {
      const last = line.at(-1);
      if (last !== undefined && isApart(last, fix)) {
        if (line.length > 1) lines.push(line);
        line = [];
      }
      line.push(fix);
    }
    if (line.length > 1) lines.push(line);
    return lines;
  }

  metres(): number {
    let sum = 0;
    for (const line of this.lines()) {
      for (let i = 1; i < line.length; i++) sum += metresBetween(line[i - 1], line[i]);
    }
    return sum;
  }

  /** Speeds in m/s of so many equal parts of the time there is; null where nothing was heard. */
  speeds(parts: number): (number | null)[] {
    const { fixes } = this;
    if (fixes.length < 3) return [];
    const start = fixes[0].ts;
    const span = (fixes.at(-1) as Fix).ts - start;
    const metres = new Float64Array(parts);
    const ms = new Float64Array(parts);
    for (const line of this.lines()) {
      for (let i = 1; i < line.length; i++) {
        const part = Math.min(parts - 1, Math.floor(((line[i].ts - start) / span) * parts));
        metres[part] += metresBetween(line[i - 1], line[i]);
        ms[part] += line[i].ts - line[i - 1].ts;
      }
    }
    return Array.from(metres, (m, part) => (ms[part] > 0 ? (m / ms[part]) * 1000 : null));
  }
}

function isApart(last: Fix, fix: Fix): boolean {
  const ms = fix.ts - last.ts;
  return ms > GAP_MS || metresBetween(last, fix) > (JUMP * Math.max(ms, 1000)) / 1000;
}

function metresBetween(a: Fix, b: Fix): number {
  const north = b.lat - a.lat;
  const east = (b.lon - a.lon) * Math.cos((a.lat * Math.PI) / 180);
  return Math.hypot(north, east) * METRES_PER_DEGREE;
}
