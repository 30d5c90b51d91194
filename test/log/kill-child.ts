/**
 * Appends until it is killed. After each commit it writes a line for what was acknowledged:
 * partition, first offset, records, and the number the values carry; for the compacted topic `c`
 * partition, offset and key.
 */
import { writeSync } from "node:fs";
import { LogStore } from "../../src/log/store.ts";
import { batchOf, toAppend } from "./batches.ts";

const [dir, seedText, durability] = process.argv.slice(2);
let seed = Number(seedText);
const random = (n: number): number => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return Math.floor((seed / 2 ** 32) * n);
};
const store = LogStore.open({ dir, diskMin: 0, now: Date.now(), log: () => {} });
if (store.topics().length === 0) {
  store.createTopic("t", 5, {
    "segment.bytes": "65536",
    "retention.bytes": "100000",
    "milepost.durability": durability,
  });
  store.createTopic("c", 2, { "cleanup.policy": "compact", "segment.bytes": "16384" });
}
writeSync(1, "ready\n");
for (let commit = 0; ; commit++) {
  const now = Date.now();
  // partition 4 stays idle
  const batches = Array.from({ length: 1 + random(12) }, (_, i) => {
    const value = `${seedText}-${commit}-${i}-${"x".repeat(random(3000))}`;
    const count = 1 + random(4);
    const records = Array.from({ length: count }, () => ({ key: "k", value }));
    return { append: toAppend("t", random(4), batchOf(records)), count, value };
  });
  const key = `k${random(20)}`;
  const keyed = toAppend("c", random(2), batchOf([{ key, value: "x".repeat(random(2000)) }]));
  store.append([...batches.map((b) => b.append), keyed], now);
  const lines = batches.map(({ append: a, count, value }, i) => {
    return `${a.partition} ${a.baseOffset} ${count} ${value.split("-").slice(0, 3).join("-")} ${i}`;
  });
  lines.push(`c ${keyed.partition} ${keyed.baseOffset} ${key}`);
  writeSync(1, lines.join("\n") + "\n");
  if (random(3) === 0) store.tick(now);
}
