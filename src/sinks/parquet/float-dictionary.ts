/** Which of a column's floats are the same: what a device rounds has few values. */

/** An index of more bits saves too little. */
const distinctMax = 2 ** 13;
const slots = 4 * distinctMax;

export class FloatDictionary {
  count = 0;
  readonly #values = new Int32Array(distinctMax);
  /** Open addressing: an index and one; 0 is free. */
  readonly #slots = new Int32Array(slots);

  /** Each value's index in the dictionary; false: there are too many. Values by their bits. */
  index(values: Int32Array, indices: Int32Array): boolean {
    this.count = 0;
    this.#slots.fill(0);
    const countMax = Math.min(distinctMax, values.length / 2);
    let index = 0;
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      // one after the other they are often the same
      if (i === 0 || value !== values[i - 1]) index = this.#put(value);
      if (this.count > countMax) return false;
      indices[i] = index;
    }
    return true;
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#values.slice(0, this.count).buffer);
  }

  #put(value: number): number {
    const mask = slots - 1;
    // the low bits of a float that was rounded to tenths are as good as random, of a whole one not
    let slot = (Math.imul(value, 0x9e3779b1) >>> 12) & mask;
    for (; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const index = this.#slots[slot] - 1;
      if (this.#values[index] === value) return index;
    }
    this.#values[this.count] = value;
    this.#slots[slot] = this.count + 1;
    return this.count++;
  }
}
