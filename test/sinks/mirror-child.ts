/** Mirrors as fast as it can until somebody kills it: SOURCE TARGET TOPIC. */
import type { Slice } from "../../src/sinks/target.ts";
import { mirrorTo, SourceReader, wanted } from "./mirror-harness.ts";
import { noLetters } from "./slices.ts";

const [source, target, topic] = process.argv.slice(2);
const reader = new SourceReader(source, topic);
const mirror = mirrorTo(source, target);

for (;;) {
  try {
    const opened = await mirror.open(wanted(topic));
    process.stdout.write("open\n");
    const next = opened.map((one) => one.next);
    for (let lost = false; !lost;) {
      const slices: Slice[] = await reader.slices(next);
      if (slices.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      else lost = (await mirror.write(slices, noLetters)).lost.length > 0;
      for (const { partition, end } of slices) next[partition] = end;
    }
  } catch {
    // as the worker does
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
