/**
 * Answers that wait until the cluster behind the uplink has the batches (durability `mirrored`).
 * Whoever is answered is told the cluster's offsets. Answers of one worker keep their order.
 */
import type { AppendBatch } from "./types.ts";

/** A partition's records below `to` are in the cluster; `shift`: offset there minus here. */
export type MirroredTo = {
  topic: string;
  partition: number;
  to: number;
  /** Null: not known. Who waits is refused, and sends again. */
  shift: number | null;
};

/** `ordered`: answered by its lane, in its turn. */
type Held = { left: number; ordered: boolean; answer: () => void };
type Waiting = { batch: AppendBatch; held: Held };

export class MirrorWaits {
  readonly #isMirrored: (topic: string) => boolean;
  /** By topic and partition, in log order. */
  readonly #waiting = new Map<string, Waiting[]>();
  /** By worker, in the order of its slabs. */
  readonly #lanes = new Map<object, Held[]>();

  constructor(isMirrored: (topic: string) => boolean) {
    this.#isMirrored = isMirrored;
  }

  /** Answers when all that was appended is in the cluster; `lane` null: in any order. */
  hold(batches: AppendBatch[], lane: object | null, answer: () => void): void {
    const held = { left: 0, ordered: lane !== null, answer };
    for (const batch of batches) {
      if (batch.error !== null || !this.#isMirrored(batch.topic)) continue;
      held.left++;
      const key = `${batch.topic}/${batch.partition}`;
      const waiting = this.#waiting.get(key);
      if (waiting === undefined) this.#waiting.set(key, [{ batch, held }]);
      else waiting.push({ batch, held });
    }
    if (lane === null) {
      if (held.left === 0) answer();
      return;
    }
    const lanes = this.#lanes.get(lane) ?? [];
    this.#lanes.set(lane, lanes);
    lanes.push(held);
    answerDone(lanes);
  }

  mirrored({ topic, partition, to, shift }: MirroredTo): void {
    const waiting = this.#waiting.get(`${topic}/${partition}`);
    if (waiting === undefined) return;
    let done = 0;
    for (; done < waiting.length && waiting[done].batch.baseOffset < to; done++) {
      const { batch, held } = waiting[done];
      if (shift === null) batch.error = "timeout";
      else batch.baseOffset += shift;
      held.left--;
      if (held.left === 0 && !held.ordered) held.answer();
    }
    waiting.splice(0, done);
  }

  /** After a number of `mirrored`: workers are answered in order. */
  answer(): void {
    for (const lanes of this.#lanes.values()) answerDone(lanes);
  }

  forget(lane: object): void {
    this.#lanes.delete(lane);
  }
}

function answerDone(lanes: Held[]): void {
  let done = 0;
  while (done < lanes.length && lanes[done].left === 0) lanes[done++].answer();
  lanes.splice(0, done);
}
