import { setCrc, setI64, setU32 } from "../batch/header.ts";
import {
  BASE_OFFSET,
  BASE_SEQUENCE,
  LEADER_EPOCH,
  PRODUCER_EPOCH,
  PRODUCER_ID,
} from "../batch/layout.ts";

export type Producer = { id: number; epoch: number };

/** A batch of the log becomes one of this producer's, in place. */
export function stampProducer(batch: Uint8Array, { id, epoch }: Producer, sequence: number): void {
  setI64(batch, BASE_OFFSET, 0);
  setU32(batch, LEADER_EPOCH, -1);
  setI64(batch, PRODUCER_ID, id);
  batch[PRODUCER_EPOCH] = epoch >> 8;
  batch[PRODUCER_EPOCH + 1] = epoch;
  setU32(batch, BASE_SEQUENCE, sequence);
  setCrc(batch);
}
