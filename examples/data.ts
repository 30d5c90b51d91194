/**
 * The last of the chain booking → lab → data: keeps every result in a file, a line each, and says
 * how the tests come out. The file has the offsets with the results, so that a result which comes
 * again after a crash is known: exactly once, whatever happens between here and there.
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { ensureTopics, read, say } from "./service.ts";

type Result = { booking: string; test: string; verdict: string };

const file = process.env["RESULTS"] ?? "lab-results.ndjson";

/** By partition: the offset behind the last result in the file. */
const stored = new Map<number, number>();
const seen = new Set<string>();
const counts = new Map<string, { results: number; normal: number }>();
for (const line of existsSync(file) ? readFileSync(file, "utf8").split("\n") : []) {
  // the last line may have been cut by a crash
  if (line.endsWith("}")) take(JSON.parse(line));
}
await ensureTopics(["lab-results"]);
say("data", `${seen.size} results in ${file}`);

for await (const { partition, offset, value } of read<Result>("data", "lab-results")) {
  if (Number(offset) < (stored.get(partition) ?? 0) || seen.has(value.booking)) continue;
  const row = { ...value, partition, offset: Number(offset) };
  appendFileSync(file, `${JSON.stringify(row)}\n`);
  take(row);
  const { results, normal } = counts.get(value.test)!;
  console.log(`${value.booking}  ${value.test}: ${normal} of ${results} are normal`);
}

function take(row: Result & { partition: number; offset: number }): void {
  stored.set(row.partition, row.offset + 1);
  seen.add(row.booking);
  const count = counts.get(row.test) ?? { results: 0, normal: 0 };
  count.results++;
  if (row.verdict === "normal") count.normal++;
  counts.set(row.test, count);
}
