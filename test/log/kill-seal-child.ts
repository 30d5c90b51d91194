/**
 * Fills a slice with pings of 50 drivers unless there is one, then goes through the steps of its
 * sealing, a line each, until it is killed.
 */
import { writeSync } from "node:fs";
import { LogStore } from "../../src/log/store.ts";
import { batchOf, toAppend } from "./batches.ts";

const [dir] = process.argv.slice(2);
const store = LogStore.open({ dir, diskMin: 0, now: 1_000_000, log: () => {} });
if (store.topics().length === 0) {
  store.createTopic("t", 2, { "milepost.from": "position", "segment.bytes": "2097152" });
  for (let n = 0; store.metrics().slices === 1; n++) {
    const batches = Array.from({ length: 16 }, (_, i) => {
      const records = [0, 1, 2].map((r) => {
        return { key: `driver-${(n * 48 + i * 3 + r) % 50}`, value: `${n}/${i}/${r}` };
      });
      return toAppend("t", i % 2, batchOf(records));
    });
    store.append(batches, 1_000_000);
  }
}
for (let n = 0; ; n++) {
  writeSync(1, `${store.topic("t").slices[0].row.state}\n`);
  store.tick(1_000_000);
  if (n > 500) throw new Error("not killed");
}
