/**
 * What riders are told, in bytes. A channel's publications of one turn are encoded once, for
 * everybody who follows it: lines of the Centrifugo protocol, one behind the other. Other
 * protocols take the data out of them.
 *
 *     {"push":{"channel":"driver:42","pub":{"data":{…,"received":1},"offset":914}}}
 *                                                  ╰──── data ────╯
 */
import { copyBytes } from "../lib/copy-bytes.ts";

export const POSITION = 0;
/** An older fix than the latest. */
export const LATE = 1;
/** The driver is no longer in the area: it went elsewhere, or has not been heard of. */
export const LEFT = 2;
export const GONE_STALE = 3;

export type Publication = {
  kind: typeof POSITION | typeof LATE | typeof LEFT | typeof GONE_STALE;
  row: number;
  /** A range of `bytes`: the ping's JSON; of a driver that is gone, the data that say so. */
  bytes: Uint8Array;
  start: number;
  end: number;
  received: number;
  /** In the stream of the channel: the log's offset + 1; 0 for channels without one. */
  offset: number;
};

/** All publications of one channel in one turn, encoded. Valid until the turn ends. */
export type Frame = {
  /** Lines of JSON with `\n` between them. */
  bytes: Uint8Array;
  /** Where the data of publication `i` begin and end: at `2 * i` and `2 * i + 1`. */
  data: Int32Array;
  publications: readonly Publication[];
};

/** From publication `first` on; `prefix`: what its channel's lines begin with. */
export function framePart(frame: Frame, first: number, prefix: Uint8Array): Frame {
  const start = frame.data[2 * first] - prefix.byteLength;
  return {
    bytes: frame.bytes.subarray(start),
    data: frame.data.subarray(2 * first).map((at) => at - start),
    publications: frame.publications.slice(first),
  };
}

const ENCODED_MIN = 256 * 1024;
/** What stands around a ping's JSON, but for the channel's name. */
const AROUND_MAX = 160;

const text = (s: string): Uint8Array => Buffer.from(s);
const RECEIVED = text(',"received":');
const IS_LATE = text(',"late":true');
const OFFSET = text(',"offset":');
const END_DATA = text("}");
const END = text("}}}");

/** What a channel's lines begin with. */
export function linePrefix(channel: string): Uint8Array {
  return text(`{"push":{"channel":${JSON.stringify(channel)},"pub":{"data":`);
}

/** One for the thread: `begin`, `frame` for each channel, all of them sent, `begin` … */
export class FrameEncoder {
  #bytes: Buffer = Buffer.allocUnsafeSlow(ENCODED_MIN);
  #at = 0;
  #frameStart = 0;

  /** What was encoded before is gone. */
  begin(): void {
    this.#at = 0;
    // what one crowded turn needed is not kept for ever
    if (this.#bytes.byteLength > 16 * ENCODED_MIN)
      this.#bytes = Buffer.allocUnsafeSlow(ENCODED_MIN);
  }

  frame(prefix: Uint8Array, publications: readonly Publication[]): Frame {
    this.#frameStart = this.#at;
    const data = new Int32Array(2 * publications.length);
    for (let i = 0; i < publications.length; i++) {
      const p = publications[i];
      this.#room(prefix.byteLength + (p.end - p.start) + AROUND_MAX);
      if (i > 0) this.#bytes[this.#at++] = 0x0a;
      this.#put(prefix);
      data[2 * i] = this.#at - this.#frameStart;
      if (p.kind < LEFT) this.#data(p);
      else this.#range(p.bytes, p.start, p.end);
      data[2 * i + 1] = this.#at - this.#frameStart;
      if (p.offset > 0) {
        this.#put(OFFSET);
        this.#number(p.offset);
      }
      this.#put(END);
    }
    return { bytes: this.#bytes.subarray(this.#frameStart, this.#at), data, publications };
  }

  #data(p: Publication): void {
    this.#range(p.bytes, p.start, p.end - 1);
    this.#put(RECEIVED);
    this.#number(p.received);
    if (p.kind === LATE) this.#put(IS_LATE);
    this.#put(END_DATA);
  }

  #put(bytes: Uint8Array): void {
    this.#range(bytes, 0, bytes.byteLength);
  }

  #range(bytes: Uint8Array, start: number, end: number): void {
    copyBytes(bytes, start, end, this.#bytes, this.#at);
    this.#at += end - start;
  }

  #number(n: number): void {
    this.#at += this.#bytes.write(String(n), this.#at, "latin1");
  }

  /** Frames given out before stay where they are: a larger buffer begins with the open one. */
  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.byteLength) return;
    const open = this.#bytes.subarray(this.#frameStart, this.#at);
    let size = ENCODED_MIN;
    while (size < 2 * (open.byteLength + bytes)) size *= 2;
    this.#bytes = Buffer.allocUnsafeSlow(size);
    this.#at = open.copy(this.#bytes);
    this.#frameStart = 0;
  }
}
