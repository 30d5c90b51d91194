/** Counts the PUBACKs and PUBRECs in a stream of whole or cut packets from the broker. */
export class AckScanner {
  /** Bytes of the packet under way that are still to come. */
  #skip = 0;
  #type = -1;
  #length = 0;
  #shift = 0;

  acksIn(bytes: Uint8Array): number {
    let acks = 0;
    for (let i = 0; i < bytes.length; i++) {
      if (this.#skip > 0) {
        const step = Math.min(this.#skip, bytes.length - i);
        this.#skip -= step;
        i += step - 1;
      } else if (this.#type < 0) {
        this.#type = bytes[i] >> 4;
        this.#length = this.#shift = 0;
      } else {
        this.#length |= (bytes[i] & 0x7f) << this.#shift;
        this.#shift += 7;
        if (bytes[i] >= 0x80) continue;
        if (this.#type === 4 || this.#type === 5) acks++;
        this.#type = -1;
        this.#skip = this.#length;
      }
    }
    return acks;
  }
}
