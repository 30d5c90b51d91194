/**
 * A body (WebSocket frame, MQTT payload, HTTP body) to the ranges of its pings.
 *
 *     one ping             one item
 *     [ping, ping, …]      its items, when the whole body is JSON; an empty array has none
 *     ping LF ping LF …    NDJSON, where that may come: its lines that are not blank
 *     anything else        one item, the whole body, which `PingReader` finds to be no ping
 *
 * Only the array is looked through here: an item may still be anything, also an array, which is
 * no ping (`bad_json`) and leaves its neighbours alone. Bytes that are not UTF-8 are found per
 * ping too. A body of several lines that is one JSON value (printed prettily) is that value; one
 * that has not a single line of JSON counts as one item.
 */
import type { ErrorCode } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { isSpace, JsonSkipper, skipSpace } from "./skip.ts";

const LINE_FEED = 0x0a;

export class Frame {
  bytes: Uint8Array = new Uint8Array(0);
  count = 0;
  readonly starts = new Int32Array(limits.framePingsMax);
  readonly ends = new Int32Array(limits.framePingsMax);
  readonly #skipper = new JsonSkipper();

  /** `too_large`: more bytes or pings than a frame may hold. Else `count` ranges of `bytes`. */
  split(bytes: Uint8Array, start: number, end: number, ndjson: boolean): ErrorCode | null {
    this.bytes = bytes;
    this.count = 0;
    if (end - start > limits.frameBytesMax) return "too_large";
    const from = skipSpace(bytes, start, end);
    const to = trimEnd(bytes, from, end);
    if (bytes[from] === 0x5b && from < to) {
      if (this.#array(bytes, from, to)) return this.#fits();
      this.count = 0;
    }
    if (ndjson && this.#hasLines(bytes, from, to)) {
      this.#lines(bytes, from, to);
      return this.#fits();
    }
    this.#add(from, to);
    return null;
  }

  #fits(): ErrorCode | null {
    return this.count > limits.framePingsMax ? "too_large" : null;
  }

  /** Beyond the limit items are only counted. */
  #add(start: number, end: number): void {
    const i = this.count++;
    if (i >= limits.framePingsMax) return;
    this.starts[i] = start;
    this.ends[i] = end;
  }

  #array(b: Uint8Array, start: number, end: number): boolean {
    let p = skipSpace(b, start + 1, end);
    if (b[p] === 0x5d) return p === end - 1;
    while (p < end) {
      const after = this.#skipper.skip(b, p, end);
      if (after < 0) return false;
      this.#add(p, after);
      p = skipSpace(b, after, end);
      if (b[p] === 0x5d) return p === end - 1;
      if (b[p] !== 0x2c) return false;
      p = skipSpace(b, p + 1, end);
    }
    return false;
  }

  #hasLines(b: Uint8Array, start: number, end: number): boolean {
    const feed = b.indexOf(LINE_FEED, start);
    if (feed < 0 || feed >= end || this.#skipper.skip(b, start, end) === end) return false;
    for (let p = start; p < end;) {
      const lineEnd = endOfLine(b, p, end);
      const from = skipSpace(b, p, lineEnd);
      const to = trimEnd(b, from, lineEnd);
      if (from < to && this.#skipper.skip(b, from, to) === to) return true;
      p = lineEnd + 1;
    }
    return false;
  }

  #lines(b: Uint8Array, start: number, end: number): void {
    for (let p = start; p < end;) {
      const lineEnd = endOfLine(b, p, end);
      const from = skipSpace(b, p, lineEnd);
      const to = trimEnd(b, from, lineEnd);
      if (from < to) this.#add(from, to);
      p = lineEnd + 1;
    }
  }
}

function endOfLine(b: Uint8Array, start: number, end: number): number {
  const feed = b.indexOf(LINE_FEED, start);
  return feed < 0 || feed > end ? end : feed;
}

function trimEnd(b: Uint8Array, start: number, end: number): number {
  let p = end;
  while (p > start && isSpace(b[p - 1])) p--;
  return p;
}
