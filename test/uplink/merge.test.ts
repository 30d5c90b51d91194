import fc from "fast-check";
import { expect, test } from "vitest";
import { BatchBuilder } from "../../src/batch/builder.ts";
import {
  baseSequence,
  lastOffsetDelta,
  producerEpoch,
  producerId,
  stamp,
  verifyBatch,
} from "../../src/batch/header.ts";
import { recordsOf } from "../../src/batch/records.ts";
import { merged } from "../../src/uplink/merge.ts";

const record = fc.record({
  key: fc.option(fc.string({ maxLength: 20 })),
  value: fc.option(fc.string({ maxLength: 200 })),
  timestamp: fc.integer({ min: 0, max: 2 ** 42 }),
  headers: fc.array(fc.tuple(fc.string({ maxLength: 5 }), fc.string({ maxLength: 5 })), {
    maxLength: 2,
  }),
});
const batches = fc.array(fc.array(record, { minLength: 1, maxLength: 5 }), {
  minLength: 1,
  maxLength: 6,
});

type Made = {
  key: string | null;
  value: string | null;
  timestamp: number;
  headers: [string, string][];
};

function batchWith(records: Made[]): Uint8Array {
  const builder = new BatchBuilder();
  const bytes = (text: string | null) => (text === null ? null : Buffer.from(text));
  for (const { key: keyText, value: valueText, timestamp, headers: texts } of records) {
    const [key, value] = [bytes(keyText), bytes(valueText)];
    const headers = texts.map((pair) => pair.map((text) => Buffer.from(text)) as [Buffer, Buffer]);
    const [keyEnd, valueEnd] = [key?.length ?? 0, value?.length ?? 0];
    builder.append(key, 0, keyEnd, value, 0, valueEnd, timestamp, headers);
  }
  const batch = new Uint8Array(builder.seal());
  builder.copyTo(batch, 0);
  return batch;
}

test("batches that leave as one hold the same records, under this producer", () => {
  fc.assert(
    fc.property(batches, fc.integer({ min: 0, max: 2 ** 31 - 1 }), (all, sequence) => {
      let base = 1000;
      const made = all.map((records) => {
        const batch = batchWith(records);
        stamp(batch, base, 3);
        base += records.length;
        return batch;
      });
      const fields = (batch: Uint8Array, first: number) =>
        [...recordsOf(batch)].map(({ offset, timestamp, key, value, headers }) => {
          const texts = headers.map(([name, text]) => [name, Buffer.from(text).toString()]);
          const [k, v] = [key, value].map((b) => (b === null ? null : Buffer.from(b).toString()));
          return [offset - first, timestamp, k, v, texts];
        });
      const before = made.flatMap((batch) => fields(batch, 1000));
      const one = merged(made, { id: 77, epoch: 5 }, sequence);
      expect(verifyBatch(one)).toBe(true);
      expect(fields(one, 0)).toEqual(before);
      expect([producerId(one), producerEpoch(one), baseSequence(one)]).toEqual([77, 5, sequence]);
      expect(lastOffsetDelta(one)).toBe(before.length - 1);
    }),
  );
});
