/** Writes rows as fast as it can until somebody kills it: URL PARTITIONS ROWS SEED MOST. */
import { databaseOf } from "../../src/cli/database-of.ts";
import { type DeadLetter, SinkFailure, type Slice } from "../../src/sinks/target.ts";
import { Transactional } from "../../src/sinks/transactional.ts";
import { pingOf, sliceOf, taken } from "./slices.ts";

const [url, partitions, rows, seed, most] = process.argv.slice(2);
const options = { sink: "kill", createSchema: true, everyMs: null };
const say = (line: string): void => void process.stderr.write(`${line}\n`);
const target = new Transactional(await databaseOf(url, say), options);
let random = Number(seed);

/** Of a batch: few rows or many, so that a kill meets each step. */
function size(): number {
  random = (Math.imul(random, 1_103_515_245) + 12_345) & 0x7fffffff;
  return 1 + (random % 3 === 0 ? random % Number(most) : random % 40);
}

/** All rows are good ones. */
async function bury([{ reason }]: DeadLetter[]): Promise<void> {
  say(`a dead letter: ${reason}`);
  process.exit(1);
}

/** As the worker does: what fails for now is tried again. */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (error instanceof SinkFailure) throw error;
      say(`trying again: ${(error as Error).message}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** In a row, without a batch between. */
let losses = 0;

for (;;) {
  // as after a rebalance: it has what it asked for, and then the other one has
  const wanted = Array.from({ length: Number(partitions) }, (_, p) => taken(p));
  const opened = await patiently(() => target.open(wanted));
  process.stdout.write("open\n");
  for (let lost = false; !lost;) {
    const batch: Slice[] = [];
    for (const position of opened) {
      const count = Math.min(size(), Number(rows) - position.next);
      const pings = Array.from({ length: Math.max(count, 0) }, (_, i) => pingOf(position.next + i));
      if (count > 0) batch.push(sliceOf(position.partition, position.next, pings));
    }
    if (batch.length === 0) process.exit(0);
    const written = await patiently(() => target.write(batch, bury));
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
