/** The drivers the map knows of, and the arrays they are drawn from. */
import { firstSeen, headingOf, placeOf, take, type Glide } from "./glide.ts";
import type { Ping } from "./ping.ts";

/** Drawn fainter from here on, and very faint when the gateway calls it stale. */
export const FADE_AFTER_MS = 30_000;
const FADED_AFTER_MS = 120_000;
const ALPHA_MIN = 0.3;
/** Slower than walking. */
const STILL = 0.7;

export type Drawn = {
  count: number;
  ids: string[];
  /** Longitude and latitude of each. */
  places: Float64Array;
  headings: Float32Array;
  /** 1 where the driver moves. */
  moving: Uint8Array;
  /** 0 to 1 */
  alpha: Float32Array;
};

/** `top`: above the others; `alone`: without them. */
export type DrawOptions = { top?: string | null; alone?: boolean };

export class Fleet {
  readonly #glides = new Map<string, Glide>();
  /** Ids of the snapshot that is coming in; null: none is. */
  #snapshot: Set<string> | null = null;
  #drawn: Drawn = emptyDrawn(256);

  get size(): number {
    return this.#glides.size;
  }

  /** What is put now was there before. */
  get isInSnapshot(): boolean {
    return this.#snapshot !== null;
  }

  get(id: string): Ping | undefined {
    return this.#glides.get(id)?.ping;
  }

  *pings(): Iterable<Ping> {
    for (const glide of this.#glides.values()) yield glide.ping;
  }

  ids(): Iterable<string> {
    return this.#glides.keys();
  }

  placeOf(id: string, nowMs: number): [lon: number, lat: number] | null {
    const glide = this.#glides.get(id);
    return glide === undefined ? null : placeOf(glide, nowMs);
  }

  /** False when it changes nothing: a late fix, or one seen before. */
  put(ping: Ping, nowMs: number, smooth: boolean): boolean {
    this.#snapshot?.add(ping.id);
    const glide = this.#glides.get(ping.id);
    if (glide !== undefined) return take(glide, ping, nowMs, smooth);
    if (ping.late === true) return false;
    this.#glides.set(ping.id, firstSeen(ping, nowMs));
    return true;
  }

  remove(id: string): void {
    this.#glides.delete(id);
  }

  clear(): void {
    this.#glides.clear();
  }

  /** What is put until `endSnapshot` is all there is in the area. */
  beginSnapshot(): void {
    this.#snapshot = new Set();
  }

  /** Removes who is not in it, but for `kept`. */
  endSnapshot(kept: string | null): void {
    const there = this.#snapshot;
    this.#snapshot = null;
    if (there === null) return;
    for (const id of this.#glides.keys()) if (id !== kept && !there.has(id)) this.remove(id);
  }

  /**
   * Where everyone is seen at `nowMs`; ages are by `clockMs`, the time of day. The arrays are
   * the same at each call, filled anew.
   */
  draw(nowMs: number, clockMs: number, { top = null, alone = false }: DrawOptions = {}): Drawn {
    if (this.#drawn.headings.length < this.size) this.#drawn = emptyDrawn(2 * this.size);
    const drawn = this.#drawn;
    drawn.count = 0;
    if (!alone) {
      for (const [id, glide] of this.#glides) {
        if (id !== top) addTo(drawn, id, glide, nowMs, clockMs);
      }
    }
    const above = top === null ? undefined : this.#glides.get(top);
    if (top !== null && above !== undefined) addTo(drawn, top, above, nowMs, clockMs);
    return drawn;
  }
}

function addTo(drawn: Drawn, id: string, glide: Glide, nowMs: number, clockMs: number): void {
  const i = drawn.count++;
  const [lon, lat] = placeOf(glide, nowMs);
  drawn.ids[i] = id;
  drawn.places[2 * i] = lon;
  drawn.places[2 * i + 1] = lat;
  drawn.headings[i] = headingOf(glide, nowMs);
  drawn.moving[i] = isMoving(glide.ping) ? 1 : 0;
  drawn.alpha[i] = alphaAt(clockMs - glide.ping.received);
}

export function isMoving(ping: Ping): boolean {
  return ping.speed === undefined ? ping.heading !== undefined : ping.speed > STILL;
}

export function alphaAt(ageMs: number): number {
  const faded = (ageMs - FADE_AFTER_MS) / (FADED_AFTER_MS - FADE_AFTER_MS);
  return 1 - (1 - ALPHA_MIN) * Math.min(1, Math.max(0, faded));
}

function emptyDrawn(capacity: number): Drawn {
  return {
    count: 0,
    ids: [],
    places: new Float64Array(2 * capacity),
    headings: new Float32Array(capacity),
    moving: new Uint8Array(capacity),
    alpha: new Float32Array(capacity),
  };
}
