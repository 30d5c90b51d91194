/**
 * An id for an idempotent producer, never given twice. Ids are reserved in blocks, which are on
 * disk before the first of them is given; what is left of a block at a restart is forgotten.
 */
import type { LogPort } from "../../log/client.ts";
import { limits } from "../../model/limits.ts";
import { initProducerId } from "../../wire/apis/init-producer-id.ts";
import { E } from "../../wire/errors.ts";
import { serve } from "../handler.ts";

export const initProducerIdHandler = serve(
  initProducerId,
  async ({ transactionalId, producerId, producerEpoch }, { services }) => {
    // transactions are not served: the client is to be told at once, not to try again
    if (transactionalId !== null) return answer(E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, -1);
    if (producerId < 0 !== producerEpoch < 0) return answer(E.INVALID_REQUEST, -1);
    return answer(E.NONE, await nextId(services.log));
  },
);

const answer = (errorCode: number, producerId: number) => ({
  throttleTimeMs: 0,
  errorCode,
  producerId,
  producerEpoch: producerId < 0 ? -1 : 0,
});

let next = 0;
let end = 0;
let reserving: Promise<void> | null = null;

async function nextId(log: LogPort): Promise<number> {
  while (next === end) await (reserving ??= reserve(log));
  return next++;
}

async function reserve(log: LogPort): Promise<void> {
  try {
    next = await log.call("reserveProducerIds", limits.producerIdsReserved);
    end = next + limits.producerIdsReserved;
  } finally {
    reserving = null;
  }
}
