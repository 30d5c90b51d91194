import fc from "fast-check";
import { expect, test } from "vitest";
import { verifyDirectory } from "../../src/log/verify.ts";
import { batchOf, newDirectory, openStore, readAll, text, tickMany, toAppend } from "./fixture.ts";

const hour = 3_600_000;
const partitions = 3;

const step = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      // partition, records, bytes of each value
      batches: fc.array(
        fc.tuple(fc.nat(partitions - 1), fc.integer({ min: 1, max: 8 }), fc.nat(6000)),
        { minLength: 1, maxLength: 12 },
      ),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("tick" as const), times: fc.nat(8) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(4 * hour) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("delete" as const),
      partition: fc.nat(partitions - 1),
      share: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
);

test.each(["flushed", "logged"])("%s: any history against a list per partition", (durability) => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) => {
      const dir = newDirectory();
      let now = 1_000_000;
      let store = openStore(dir, now);
      store.createTopic("t", partitions, {
        "segment.bytes": "65536",
        "retention.bytes": "150000",
        "retention.ms": String(10 * hour),
        "milepost.durability": durability,
      });
      const model: string[][] = Array.from({ length: partitions }, () => []);
      const starts = Array.from({ length: partitions }, () => 0);
      const check = (): void => {
        for (const state of store.describe("t")) {
          const p = state.partition;
          expect(state.end).toBe(model[p].length);
          expect(state.start).toBeGreaterThanOrEqual(starts[p]);
          starts[p] = state.start;
          const values = readAll(store, "t", p).map((r) => text(r.value));
          expect(values).toEqual(model[p].slice(state.start));
        }
      };
      for (const s of steps) {
        now += 1000;
        if (s.kind === "append") {
          const batches = s.batches.map(([p, count, size], b) => {
            const values = Array.from({ length: count }, (_, i) => {
              return `${p}/${model[p].length + i}/${b}${"x".repeat(size)}`;
            });
            const batch = toAppend("t", p, batchOf(values.map((value) => ({ key: "k", value }))));
            expect(model[p].length).toBeGreaterThanOrEqual(0);
            model[p].push(...values);
            return batch;
          });
          store.append(batches, now);
          expect(batches.every((b) => b.error === null)).toBe(true);
        } else if (s.kind === "tick") {
          tickMany(store, now, s.times);
        } else if (s.kind === "wait") {
          now += s.ms;
        } else if (s.kind === "delete") {
          const { start, end } = store.describe("t")[s.partition];
          const before = start + Math.floor((end - start) * s.share);
          expect(store.deleteRecords("t", s.partition, before)).toBe(before);
          starts[s.partition] = before;
        } else {
          store.close();
          store = openStore(dir, now);
          check();
        }
      }
      check();
      const total = store.metrics().topics[0].bytes;
      tickMany(store, now, 20);
      // what retention keeps, and the open slice
      expect(store.metrics().topics[0].bytes).toBeLessThanOrEqual(Math.max(total, 450_000));
      store.close();
      expect(verifyDirectory(dir)).toEqual([]);
    }),
    { numRuns: 25 },
  );
});
