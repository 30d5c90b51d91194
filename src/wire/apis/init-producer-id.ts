import { api } from "../api.ts";
import { field, int16, int32, int64, nullableString } from "../schema.ts";

export const initProducerId = api({
  key: 22,
  name: "InitProducerId",
  versions: "0-4",
  flexible: "2+",
  request: {
    transactionalId: field("0+", nullableString("0+")),
    transactionTimeoutMs: field("0+", int32),
    producerId: field("3+", int64, { default: -1 }),
    producerEpoch: field("3+", int16, { default: -1 }),
  },
  response: {
    throttleTimeMs: field("0+", int32),
    errorCode: field("0+", int16),
    producerId: field("0+", int64, { default: -1 }),
    producerEpoch: field("0+", int16),
  },
});
