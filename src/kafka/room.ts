/** A bound in bytes that many share: who finds no room waits, and gets it in the order of asking. */
export class Room {
  readonly #bytesMax: number;
  #taken = 0;
  #waiting: { bytes: number; enter: () => void }[] = [];

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Null: taken at once. One that is larger than all room goes alone. */
  take(bytes: number): Promise<void> | null {
    if (this.#waiting.length === 0 && this.#fits(bytes)) {
      this.#taken += bytes;
      return null;
    }
    return new Promise((enter) => this.#waiting.push({ bytes, enter }));
  }

  give(bytes: number): void {
    this.#taken -= bytes;
    for (;;) {
      const first = this.#waiting.at(0);
      if (first === undefined || !this.#fits(first.bytes)) return;
      this.#waiting.shift();
      this.#taken += first.bytes;
      first.enter();
    }
  }

  #fits(bytes: number): boolean {
    return this.#taken === 0 || this.#taken + bytes <= this.#bytesMax;
  }
}
