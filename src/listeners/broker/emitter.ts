/**
 * What aedes uses as its message queue: finds the subscribers of a packet and hands it to each.
 * It does not wait for any of them, so that one slow subscriber holds up neither a publisher nor
 * another subscriber; what a subscriber may leave unread is bounded at its connection.
 */
import { FilterIndex } from "./filter-index.ts";

export type Delivered = { topic: string; qos: number; [field: string]: unknown };
type Listener = (packet: Delivered, done: () => void) => void;
type Done = (error?: Error | null) => void;

export class Emitter {
  readonly #listeners = new FilterIndex<Listener>();

  on(filter: string, listener: Listener, done?: Done): this {
    this.#listeners.add(filter, listener);
    done?.();
    return this;
  }

  removeListener(filter: string, listener: Listener, done?: Done): this {
    this.#listeners.remove(filter, listener);
    done?.();
    return this;
  }

  emit(packet: Delivered, done?: Done): this {
    for (const listener of this.#listeners.match(packet.topic)) listener(packet, nothing);
    done?.(null);
    return this;
  }

  hasListener(topic: string): boolean {
    return this.#listeners.match(topic).length > 0;
  }

  close(done?: Done): this {
    if (done !== undefined) setImmediate(done);
    return this;
  }
}

function nothing(): void {}
