/**
 * QoS 2 packet ids between PUBLISH and PUBREL [MQTT-4.3.3-2]: a message that comes again under one
 * of them is answered, not stored. They outlive the connection of a kept session, not the process.
 */
import { limits } from "../../model/limits.ts";

export class Qos2Ids {
  /** True once the message is in the log, so that PUBREC may be sent. */
  readonly #ids = new Map<number, boolean>();

  get full(): boolean {
    return this.#ids.size >= limits.qos2InflightMax;
  }
  /** undefined: new; false: its PUBREC is still due; true: PUBREC was sent. */
  state(packetId: number): boolean | undefined {
    return this.#ids.get(packetId);
  }
  taken(packetId: number): void {
    this.#ids.set(packetId, false);
  }
  stored(packetId: number): void {
    this.#ids.set(packetId, true);
  }
  refused(packetId: number): void {
    this.#ids.delete(packetId);
  }
  /** False when it was not there. */
  released(packetId: number): boolean {
    return this.#ids.delete(packetId);
  }
  /** What the next connection of the client must know. */
  carried(): number[] {
    return [...this.#ids.keys()];
  }
}
