/** The wills of connected clients, journaled: after a crash they are due at the next start. */
import type { Journal } from "./journal.ts";
import { encodeStored, packetOf, type Stored } from "./stored.ts";

export type Will = {
  topic: string;
  payload: Buffer;
  qos: number;
  retain: boolean;
  clientId?: string;
  brokerId?: string;
};

export class Wills {
  readonly #journal: Journal;
  readonly #byClient = new Map<string, Will>();

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  restore(clientId: string, stored: Stored | null): void {
    if (stored === null) {
      this.#byClient.delete(clientId);
      return;
    }
    const { topic, payload, qos, retain } = packetOf(stored);
    this.#byClient.set(clientId, { topic, payload, qos, retain });
  }

  /** Those that a crash has left; each is handed out once. */
  takeAll(): [clientId: string, will: Will][] {
    const wills = [...this.#byClient];
    for (const [clientId] of wills) this.remove(clientId);
    return wills;
  }

  get(clientId: string): Will | undefined {
    return this.#byClient.get(clientId);
  }

  all(): IterableIterator<Will> {
    return this.#byClient.values();
  }

  async put(clientId: string, will: Will): Promise<void> {
    will.payload = Buffer.from(will.payload); // it was a view of the CONNECT
    this.#byClient.set(clientId, will);
    const { topic, qos, retain } = will;
    this.#journal.set(`w/${clientId}`, encodeStored({ topic, qos, retain }, will.payload));
    await this.#journal.flushed();
  }

  remove(clientId: string): Will | undefined {
    const will = this.#byClient.get(clientId);
    if (this.#byClient.delete(clientId)) this.#journal.remove(`w/${clientId}`);
    return will;
  }
}
