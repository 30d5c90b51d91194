/**
 * Answers on their way to the socket. At most `WRITE_BYTES` are with the socket at once, so that it
 * can be seen whether the client reads; the rest waits here.
 */
import type { Socket } from "node:net";

const WRITE_BYTES = 256 * 1024;

export class Outgoing {
  readonly #socket: Socket;
  readonly #now: () => number;
  /** Bytes have left, or failed to. */
  readonly #onProgress: (bytes: number) => void;
  /** Nobody uses this piece any more. */
  readonly #onSent: (piece: Uint8Array) => void;
  #pieces: Uint8Array[] = [];
  #next = 0;
  #writing = 0;
  /** Pieces that end with what the socket has. */
  #ending: Uint8Array[] = [];
  /** Bytes that the kernel has not taken. */
  unsent = 0;
  /** When some of them last left, or the first of them came. */
  progressMs = 0;

  constructor(
    socket: Socket,
    now: () => number,
    onProgress: (bytes: number) => void,
    onSent: (piece: Uint8Array) => void,
  ) {
    this.#socket = socket;
    this.#now = now;
    this.#onProgress = onProgress;
    this.#onSent = onSent;
  }

  /** The pieces stay as they are until they are sent. */
  send(pieces: readonly Uint8Array[]): void {
    if (this.unsent === 0) this.progressMs = this.#now();
    for (const piece of pieces) {
      this.#pieces.push(piece);
      this.unsent += piece.length;
    }
    this.#write();
  }

  clear(): void {
    this.#pieces = [];
    this.#next = 0;
    this.unsent = 0;
  }

  #write(): void {
    if (this.#writing > 0 || this.#next === this.#pieces.length) return;
    const chosen: Uint8Array[] = [];
    while (this.#writing < WRITE_BYTES && this.#next < this.#pieces.length) {
      const piece = this.#pieces[this.#next];
      const room = WRITE_BYTES - this.#writing;
      chosen.push(piece.subarray(0, room));
      if (piece.length <= room) {
        this.#next++;
        this.#ending.push(piece);
      } else {
        this.#pieces[this.#next] = piece.subarray(room);
      }
      this.#writing += Math.min(room, piece.length);
    }
    if (this.#next === this.#pieces.length) {
      this.#pieces = [];
      this.#next = 0;
    }
    const last = chosen.pop() as Uint8Array;
    this.#socket.cork();
    for (const piece of chosen) this.#socket.write(piece);
    this.#socket.write(last, () => this.#written());
    this.#socket.uncork();
  }

  #written(): void {
    const bytes = this.#writing;
    this.#writing = 0;
    if (this.#socket.destroyed) return;
    for (const piece of this.#ending) this.#onSent(piece);
    this.#ending = [];
    this.unsent -= bytes;
    this.progressMs = this.#now();
    this.#write();
    this.#onProgress(bytes);
  }
}
