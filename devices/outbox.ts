/** Pings that travel together: one, or an array of them; or an event, which has none. */
export class Message {
  /** What goes to the socket: an MQTT PUBLISH packet, or the text of a WebSocket frame. */
  readonly bytes: Buffer;
  readonly firstSeq: number;
  /** Fix time of each ping; their `seq` are consecutive. */
  readonly ts: readonly number[];
  /** When it was meant to leave, by `performance.now()`. */
  readonly dueMs: number;
  /** MQTT packet id, given at the first send and kept. */
  packetId = 0;
  sends = 0;

  constructor(bytes: Buffer, firstSeq: number, ts: readonly number[], dueMs: number) {
    this.bytes = bytes;
    this.firstSeq = firstSeq;
    this.ts = ts;
    this.dueMs = dueMs;
  }
}

/**
 * What a driver has still to get acknowledged, in order: first the messages in flight on the
 * current connection, then those that wait. After a reconnect all of them wait again.
 */
export class Outbox {
  readonly driver: string;
  readonly #queue: Message[] = [];
  readonly #capacity: number;
  #inFlight = 0;
  #bytesInFlight = 0;

  constructor(driver: string, capacity: number) {
    this.driver = driver;
    this.#capacity = capacity;
  }

  get length(): number {
    return this.#queue.length;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get bytesInFlight(): number {
    return this.#bytesInFlight;
  }

  /**
   * Takes a message. When the box is full the oldest one never sent makes room, as a phone would
   * do it; returns it, or the new one when everything else may already be in the log.
   */
  push(message: Message): Message | null {
    this.#queue.push(message);
    if (this.#queue.length <= this.#capacity) return null;
    const oldest = this.#queue.findIndex((m) => m.sends === 0);
    return this.#queue.splice(oldest, 1)[0];
  }

  /** The next message to send; stays in the box. */
  peek(): Message | undefined {
    return this.#queue[this.#inFlight];
  }

  /** The message of `peek` is on its way. */
  departed(): void {
    this.#bytesInFlight += this.#queue[this.#inFlight].bytes.length;
    this.#inFlight++;
  }

  oldest(): Message | undefined {
    return this.#inFlight > 0 ? this.#queue[0] : undefined;
  }

  /** Takes out the message in flight with this packet id: nearly always the oldest. */
  settle(packetId: number): Message | undefined {
    for (let k = 0; k < this.#inFlight; k++) {
      if (this.#queue[k].packetId === packetId) return this.#take(k);
    }
    return undefined;
  }

  settleOldest(): Message | undefined {
    return this.#inFlight > 0 ? this.#take(0) : undefined;
  }

  /** The connection is gone: everything has to be sent again, in the same order. */
  rewind(): void {
    this.#inFlight = 0;
    this.#bytesInFlight = 0;
  }

  #take(k: number): Message {
    const message = k === 0 ? this.#queue.shift()! : this.#queue.splice(k, 1)[0];
    this.#inFlight--;
    this.#bytesInFlight -= message.bytes.length;
    return message;
  }
}
