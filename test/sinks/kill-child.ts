/** Writes rows as fast as it can until somebody kills it: URL PARTITIONS ROWS SEED MOST. */
import { databaseOf } from "../../src/cli/sink-database.ts";
import type { Slice } from "../../src/sinks/target.ts";
import { Transactional } from "../../src/sinks/transactional.ts";
import { noLetters, pingOf, sliceOf, taken } from "./slices.ts";

const [url, partitions, rows, seed, most] = process.argv.slice(2);
const options = { sink: "kill", createSchema: true, everyMs: null };
const target = new Transactional(await databaseOf(url), options);
let random = Number(seed);

/** Of a batch: few rows or many, so that a kill meets each step. */
function size(): number {
  random = (Math.imul(random, 1_103_515_245) + 12_345) & 0x7fffffff;
  return 1 + (random % 3 === 0 ? random % Number(most) : random % 40);
}

/** In a row, without a batch between. */
let losses = 0;

for (;;) {
  // as after a rebalance: it has what it asked for, and then the other one has
  const wanted = Array.from({ length: Number(partitions) }, (_, p) => taken(p));
  const opened = await target.open(wanted);
  process.stdout.write("open\n");
  for (let lost = false; !lost;) {
    const batch: Slice[] = [];
    for (const position of opened) {
      const count = Math.min(size(), Number(rows) - position.next);
      const pings = Array.from({ length: Math.max(count, 0) }, (_, i) => pingOf(position.next + i));
      if (count > 0) batch.push(sliceOf(position.partition, position.next, pings));
    }
    if (batch.length === 0) process.exit(0);
    const written = await target.write(batch, noLetters);
    lost = written.lost.length > 0;
    if (lost) break;
    losses = 0;
    process.stdout.write("wrote\n");
    for (const slice of batch)
      opened.find((o) => o.partition === slice.partition)!.next = slice.end;
  }
  // lets the other one get somewhere, also where a batch takes long
  const pauseMs = (50 + (size() % 100)) * 2 ** losses++;
  await new Promise((resolve) => setTimeout(resolve, pauseMs));
}
