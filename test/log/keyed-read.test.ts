import fc from "fast-check";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { lastOffsetDelta, setCrc, setU32 } from "../../src/batch/header.ts";
import { ATTRIBUTES, BATCH_LENGTH, HEADER_BYTES, LENGTH_OVERHEAD } from "../../src/batch/layout.ts";
import { recordsOf } from "../../src/batch/records.ts";
import { requests } from "../../src/log/requests.ts";
import type { LogStore } from "../../src/log/store.ts";
import { verifyDirectory } from "../../src/log/verify.ts";
import { appendOne, batchOf, newDirectory, openStore, readAll, text, tickMany } from "./fixture.ts";
import { toAppend } from "./batches.ts";

const keyed = { "milepost.from": "position", "milepost.key": "driver", "segment.bytes": "65536" };

type Read = { batches: Uint8Array[]; next: number };

/** One call, its steps done at once. */
function batchesOf(
  store: LogStore,
  partition: number,
  key: string,
  from: number,
  to: number,
  maxBytes = 1_000_000,
): Read {
  const steps = requests.batchesOf(store, ["t", partition, Buffer.from(key), from, to, maxBytes]);
  let step = steps.next();
  while (step.done !== true) step = steps.next();
  return step.value;
}

/** All calls until nothing is left: the batches, in order, and the records of the key in range. */
function readKey(store: LogStore, p: number, key: string, from: number, to: number, max?: number) {
  const batches: Uint8Array[] = [];
  const end = Math.min(to, store.watermark("t", p).highWatermark);
  for (let at = from; at < end;) {
    const { batches: more, next } = batchesOf(store, p, key, at, to, max);
    expect(next).toBeGreaterThan(at);
    batches.push(...more);
    at = next;
  }
  let last = -1;
  for (const batch of batches) {
    const base = Number(new DataView(batch.buffer).getBigInt64(0));
    expect(base).toBeGreaterThan(last);
    last = base + lastOffsetDelta(batch);
  }
  const records = batches
    .flatMap((batch) => [...recordsOf(batch)])
    .filter((r) => text(r.key) === key && r.offset >= from && r.offset < to)
    .map((r) => `${r.offset} ${text(r.value)}`);
  return { batches, records };
}

function gzipped(batch: Uint8Array): Uint8Array {
  const records = gzipSync(batch.subarray(HEADER_BYTES));
  const out = new Uint8Array(HEADER_BYTES + records.byteLength);
  out.set(batch.subarray(0, HEADER_BYTES));
  out.set(records, HEADER_BYTES);
  out[ATTRIBUTES + 1] |= 1;
  setU32(out, BATCH_LENGTH, out.byteLength - LENGTH_OVERHEAD);
  setCrc(out);
  return out;
}

/** Does not compress so well that it would be refused. */
const padding = Array.from({ length: 400 }, (_, i) => (i * 2654435761).toString(36)).join("");
const partitions = 2;
const key = fc.nat(8).map((n) => (n === 0 ? null : `driver-${n}`));
const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      batches: fc.array(
        fc.record({
          p: fc.nat(partitions - 1),
          keys: fc.array(key, { minLength: 1, maxLength: 9 }),
          size: fc.nat(3000),
          compressed: fc.nat(9).map((n) => n === 0),
        }),
        { minLength: 1, maxLength: 8 },
      ),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("tick" as const), times: fc.nat(6) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("read" as const),
      n: fc.integer({ min: 1, max: 9 }),
      from: fc.double({ min: 0, max: 1, noNaN: true }),
      to: fc.double({ min: 0, max: 1.2, noNaN: true }),
      max: fc.integer({ min: 1, max: 20_000 }),
    }),
  },
);

test.each(["delete", "compact"])(
  "%s: any history, the records of a key are all there",
  (policy) => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), (steps) => {
        const dir = newDirectory();
        let now = 1_000_000;
        let store = openStore(dir, now);
        store.createTopic("t", partitions, { ...keyed, "cleanup.policy": policy });
        const model: [key: string | null, value: string][][] = [[], []];
        const check = (n: number, from: number, to: number, max?: number): void => {
          for (let p = 0; p < partitions; p++) {
            const { start, highWatermark } = store.watermark("t", p);
            const first = start + Math.floor((highWatermark - start) * from);
            const end = start + Math.floor((highWatermark - start) * to);
            const { records } = readKey(store, p, `driver-${n}`, first, end, max);
            const expected =
              policy === "delete"
                ? model[p].map(([k, value], offset) => ({ k, value, offset }))
                : readAll(store, "t", p).map((r) => {
                    return { k: text(r.key), value: text(r.value), offset: r.offset };
                  });
            const wanted = expected.filter(({ k, offset }) => {
              return k === `driver-${n}` && offset >= first && offset < end;
            });
            expect(records).toEqual(wanted.map((r) => `${r.offset} ${r.value}`));
          }
        };
        for (const s of steps) {
          now += 1000;
          if (s.kind === "append") {
            const batches = s.batches.map(({ p, keys, size, compressed }) => {
              const records = keys.map((k) => {
                const value = `${model[p].length} ${padding.slice(0, size)}`;
                const named = policy === "compact" ? (k ?? "driver-9") : k;
                model[p].push([named, value]);
                return { key: named, value };
              });
              const batch = batchOf(records);
              return toAppend("t", p, compressed ? gzipped(batch) : batch);
            });
            store.append(batches, now);
            expect(batches.map((b) => b.error)).toEqual(batches.map(() => null));
          } else if (s.kind === "tick") {
            tickMany(store, now, s.times);
          } else if (s.kind === "read") {
            check(s.n, s.from, s.to, s.max);
          } else {
            store.close();
            store = openStore(dir, now);
          }
        }
        for (let n = 1; n <= 9; n++) check(n, 0, 1);
        tickMany(store, now);
        for (let n = 1; n <= 9; n++) check(n, 0, 1);
        store.close();
        expect(verifyDirectory(dir)).toEqual([]);
      }),
      { numRuns: 25 },
    );
  },
);
