/** Writes files as fast as it can until somebody kills it: DIR PARTITIONS ROWS SEED. */
import { Parquet } from "../../src/sinks/parquet.ts";
import type { Slice } from "../../src/sinks/target.ts";
import { noLetters, pingOf, receivedMs, sliceOf, taken } from "./slices.ts";

const [dir, partitions, rows, seed] = process.argv.slice(2);
const target = new Parquet({ dir, group: "kill", everyMs: null, ageMsMax: 0 });
let random = Number(seed);

function size(): number {
  random = (Math.imul(random, 1_103_515_245) + 12_345) & 0x7fffffff;
  return 1 + (random % 3 === 0 ? random % 3000 : random % 40);
}

/** Of a record by its offset, so that all workers find the same: hours go on and back. */
const receivedAt = (offset: number): number =>
  receivedMs + (Math.floor(offset / 5000) % 7) * 3_600_000 + (offset % 1000);

for (;;) {
  const opened = await target.open(Array.from({ length: Number(partitions) }, (_, p) => taken(p)));
  process.stdout.write("open\n");
  for (let lost = false; !lost;) {
    const batch: Slice[] = [];
    for (const position of opened) {
      const { next } = position;
      const count = Math.min(size(), Number(rows) - next, 5000 - (next % 5000));
      const pings = Array.from({ length: Math.max(count, 0) }, (_, i) => pingOf(next + i));
      if (count > 0) batch.push(sliceOf(position.partition, next, pings, receivedAt(next)));
      position.next += Math.max(count, 0);
    }
    if (batch.length === 0) process.exit(0);
    await target.write(batch, noLetters);
    const published = await target.publish(size() % 4 === 0);
    if (published.safe.length > 0) process.stdout.write("published\n");
    lost = published.lost.length > 0;
    // as reading from a gateway does: files are written meanwhile
    await new Promise((resolve) => setImmediate(resolve));
  }
  // lets the other one get somewhere
  await new Promise((resolve) => setTimeout(resolve, 20 + (size() % 50)));
}
