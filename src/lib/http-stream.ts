import type { Exchange, HeaderFields } from "./http-exchange.ts";
import type { UWS } from "./uws.ts";

/** uWS gathers less than this before it asks the socket, and then tells nobody what came of it. */
export const SURE_BYTES = 16 * 1024;

/**
 * A body without a length, whose client may be slow: whoever writes is told, and stops. uWS 20.51
 * says whether the socket took a piece only of pieces of `SURE_BYTES` and more; what it holds of
 * others it gives out only behind something new, which is what `filler` is for. It closes a
 * connection that takes nothing for ten seconds.
 */
export class HttpStream {
  readonly #exchange: Exchange;
  readonly #filler: string;
  /** Null when it has ended. */
  #res: UWS.HttpResponse | null;
  /** Pieces since the socket was last known to take everything. */
  #unsureBytes = 0;
  #isBlocked = false;
  /** The client reads again, or went away. */
  onChange: () => void = () => {};

  /** Sends the head; `filler`: what may stand between any two pieces and means nothing. */
  constructor(exchange: Exchange, headers: HeaderFields, filler: string) {
    this.#exchange = exchange;
    this.#filler = filler;
    this.#res = exchange.begin(200, headers, () => {
      this.#res = null;
      this.onChange();
    });
    this.#res?.onWritable(() => this.#writable());
  }

  get isOver(): boolean {
    return this.#res === null;
  }

  /** The client has not taken what was written: nothing more should be, until `onChange`. */
  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** As much may be held for a client that reads nothing, unknown to anybody. */
  get unsureBytes(): number {
    return this.#unsureBytes;
  }

  /** False: the stream is blocked from now on. */
  write(piece: string | Uint8Array): boolean {
    const res = this.#res;
    if (res === null || piece.length === 0) return !this.#isBlocked;
    const bytes = typeof piece === "string" ? Buffer.byteLength(piece) : piece.byteLength;
    let isTaken = true;
    res.cork(() => (isTaken = res.write(piece)));
    this.#unsureBytes = bytes >= SURE_BYTES && isTaken ? 0 : this.#unsureBytes + bytes;
    if (!isTaken) this.#isBlocked = true;
    return isTaken;
  }

  /** Resolves when more may be written, or there is nobody left to write to. */
  ready(): Promise<void> {
    if (!this.#isBlocked || this.isOver) return Promise.resolve();
    return new Promise((resolve) => (this.onChange = resolve));
  }

  end(): void {
    const res = this.#res;
    if (res === null) return;
    this.#res = null;
    this.#exchange.ended(200);
    res.cork(() => res.end());
  }

  #writable(): boolean {
    const res = this.#res;
    if (res === null) return true;
    let isTaken = false;
    res.cork(() => (isTaken = res.write(this.#filler)));
    this.#isBlocked = !isTaken;
    if (isTaken) {
      this.#unsureBytes = 0;
      this.onChange();
    }
    return true;
  }
}
