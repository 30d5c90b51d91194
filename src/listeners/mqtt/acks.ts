/**
 * Acknowledgements on their way out: consecutive ones of a connection leave in one write. The
 * bytes are cut from chunks that the sockets keep alive as long as they need them.
 */
const CHUNK_BYTES = 64 * 1024;

export interface AckTarget {
  writeAcks(bytes: Uint8Array): void;
}

export class AckWriter {
  #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  #start = 0;
  #end = 0;
  #target: AckTarget | null = null;

  /** `type`: first byte of the packet, PUBACK 0x40 or PUBREC 0x50. */
  add(target: AckTarget, type: number, packetId: number): void {
    if (target !== this.#target || this.#end + 4 > CHUNK_BYTES) {
      this.flush();
      this.#target = target;
      if (this.#end + 4 > CHUNK_BYTES) {
        this.#chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
        this.#start = this.#end = 0;
      }
    }
    const c = this.#chunk;
    let p = this.#end;
    c[p++] = type;
    c[p++] = 2;
    c[p++] = packetId >> 8;
    c[p++] = packetId;
    this.#end = p;
  }

  flush(): void {
    const target = this.#target;
    if (target === null) return;
    this.#target = null;
    const bytes = this.#chunk.subarray(this.#start, this.#end);
    this.#start = this.#end;
    target.writeAcks(bytes);
  }
}
