/** Why what waits does not get to the cluster, for people and for `/readyz`. */
import { limits } from "../model/limits.ts";
import { reasonOf } from "./kafka-errors.ts";
import type { Lane } from "./lane.ts";

export class Trouble {
  /** What went wrong last, of the cluster and of partitions. */
  #cluster = "connecting";
  readonly #said = new Map<Lane, string>();
  /** Since when no answer came; null: the last one did. */
  #silentSince: number | null = performance.now();

  heard(): void {
    this.#silentSince = null;
  }

  silent(error: unknown): void {
    this.#silentSince ??= performance.now();
    this.#cluster = reasonOf(error);
  }

  refused(lane: Lane, errorCode: number): void {
    this.#said.set(lane, `Kafka's error ${errorCode}`);
  }

  arrived(lane: Lane): void {
    this.#said.delete(lane);
  }

  /** Empty: there is none, or not for long yet. */
  text(lanes: readonly Lane[]): string {
    const since = performance.now() - limits.uplinkAwayMs;
    const stuck = lanes.filter(({ lag, progressAt }) => lag > 0 && progressAt < since);
    if (this.#silentSince !== null && (this.#silentSince < since || stuck.length > 0)) {
      return `the cluster does not answer: ${this.#cluster}`;
    }
    if (stuck.length === 0) return "";
    const [{ topic, partition }] = stuck;
    const more = stuck.length > 1 ? `, and ${stuck.length - 1} more` : "";
    return `${topic}/${partition}: ${this.#said.get(stuck[0]) ?? "no answer yet"}${more}`;
  }
}
