import { Consumer } from "@platformatic/kafka";
import { deadLetterTopic } from "../sinks/dead-letters.ts";
import { Replay } from "../sinks/replay.ts";
import { type Position, Source } from "../sinks/source.ts";
import { placeOf } from "../sinks/target.ts";
import { databaseOf } from "./database-of.ts";
import { CommandFailure } from "./failure.ts";
import { asFailure, clientOptions, findTopic } from "./kafka-client.ts";
import type { ReplayFlags } from "./sink.ts";
import { count, table } from "./terminal.ts";
import { boundsOf, resolveStart } from "./topic-offsets.ts";

/** From `--from` to where the dead letters end now. */
export async function replay(flags: ReplayFlags): Promise<void> {
  const options = { ...clientOptions(flags.server), clientId: "milepost-sink" };
  const consumer = new Consumer({ ...options, groupId: "none" });
  const source = new Source(consumer, options, {
    say,
    changed: () => {},
    startOver: () => "--from earliest",
  });
  let writer: Replay<unknown> | null = null;
  try {
    await findTopic(consumer, deadLetterTopic, flags.server);
    writer = await Replay.begin(await databaseOf(flags.url, say));
    const { positions, ends } = await range(consumer, flags);
    source.assign(positions);
    while ([...ends].some(([place, end]) => nextOf(positions, place) < end)) {
      for (const slice of (await source.next())?.slices ?? []) {
        const end = ends.get(placeOf(slice)) as number;
        if (slice.start < end) await writer.write({ ...slice, end: Math.min(slice.end, end) });
        positions.find((one) => placeOf(one) === placeOf(slice))!.next = slice.end;
      }
    }
    print(writer, flags);
  } catch (error) {
    throw failure(error);
  } finally {
    await writer?.end();
    await source.close();
    await consumer.close(true);
  }
}

async function range(
  consumer: Consumer,
  { from = "earliest" }: ReplayFlags,
): Promise<{ positions: Position[]; ends: Map<string, number> }> {
  const { topics } = await consumer.metadata({ topics: [deadLetterTopic] });
  const topicId = topics.get(deadLetterTopic)?.id as string;
  const bounds = await boundsOf(consumer, deadLetterTopic);
  const starts = await resolveStart(consumer, deadLetterTopic, from, bounds);
  const positions: Position[] = [];
  const ends = new Map<string, number>();
  for (const [partition, { end }] of bounds) {
    const next = starts.get(partition) as number;
    positions.push({ topic: deadLetterTopic, topicId, partition, next });
    ends.set(`${deadLetterTopic}/${partition}`, end);
  }
  return { positions, ends };
}

function nextOf(positions: Position[], place: string): number {
  return positions.find((position) => placeOf(position) === place)?.next ?? Infinity;
}

function print({ result }: Replay<unknown>, { json }: ReplayFlags): void {
  const { written, there, failed } = result;
  if (json) {
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return;
  }
  say(`${count(written)} written, ${count(there)} there already, ${count(failed.length)} refused`);
  const rows = failed.map(({ partition, offset, reason }) => [partition, offset, reason]);
  if (rows.length > 0) process.stdout.write(table(["PARTITION", "OFFSET", "REASON"], rows));
}

function failure(error: unknown): Error {
  const { code, message, name } = error as NodeJS.ErrnoException;
  // of the database's connection
  if (name !== "CommandFailure" && code?.startsWith("E"))
    return new CommandFailure(message || code);
  return asFailure(error, deadLetterTopic);
}

function say(line: string): void {
  process.stderr.write(`milepost: ${line}\n`);
}
