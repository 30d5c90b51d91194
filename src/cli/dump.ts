import { resolve } from "node:path";
import type { Command } from "commander";
import type { DumpedRecord } from "../log/verify.ts";
import { UsageError } from "./failure.ts";
import { plain, recordJson } from "./record-json.ts";
import { holdDirectory } from "./stopped-directory.ts";

const examples = `Examples:
  milepost dump positions --data-dir ./data
  milepost dump positions --data-dir ./data --partition 3 --json
  milepost dump rejects --data-dir ./data --json | jq .headers
`;

type Flags = { dataDir: string; partition?: string; json?: true };

/** A tab or line end would break the line; so would a string that reads as null. */
const awkward = /[\t\r\n]|^null$/;

/** Lines are written in pieces of about this size, not one by one. */
const pieceChars = 64 * 1024;

export function register(program: Command): void {
  program
    .command("dump <TOPIC>")
    .description("every record of a stopped gateway's log, read straight from its files")
    .addHelpText("before", examples)
    .addHelpText(
      "after",
      "\nEvery checksum is checked on the way. Exit code 1 with the place of the first damage.",
    )
    .requiredOption("--data-dir <DIR>", "the data directory of a gateway that does not run")
    .option("--partition <P>", "this partition only")
    .option(
      "--json",
      "an object a line: topic, partition, offset, timestamp, key, value, headers, leaderEpoch",
    )
    .action(dump);
}

async function dump(topic: string, flags: Flags): Promise<void> {
  const partition = parsePartition(flags.partition);
  const dir = resolve(flags.dataDir);
  const lock = await holdDirectory(dir);
  try {
    const { dumpTopic } = await import("../log/verify.ts");
    const format = flags.json ? jsonLine : textLine;
    let piece = "";
    try {
      for (const record of dumpTopic(dir, topic, partition)) {
        piece += format(record);
        if (piece.length < pieceChars) continue;
        await write(piece);
        piece = "";
      }
    } finally {
      // what stands before a damage is shown too
      await write(piece);
    }
  } finally {
    lock.release();
  }
}

function jsonLine(record: DumpedRecord): string {
  const { topic, leaderEpoch } = record;
  return `${JSON.stringify({ ...recordJson(topic, record), leaderEpoch })}\n`;
}

/** partition, offset, time, key, value, with tabs between; values that are no text as JSON. */
function textLine(record: DumpedRecord): string {
  const { partition, offset, timestamp, key, value } = recordJson(record.topic, record);
  const date = new Date(timestamp);
  const time = Number.isNaN(date.getTime()) ? String(timestamp) : date.toISOString();
  return `${[partition, offset, time, plain(key, awkward), plain(value, awkward)].join("\t")}\n`;
}

function write(text: string): Promise<void> {
  return new Promise((done) => {
    process.stdout.write(text, () => done());
  });
}

function parsePartition(text: string | undefined): number | null {
  if (text === undefined) return null;
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new UsageError(`--partition: expected a number, not "${text}"`);
}
