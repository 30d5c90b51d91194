/**
 * Reads batches as they lie in the log. A fetch waits until `minBytes` are there, for at most
 * `maxWaitMs`; an error answers at once. The batch that holds the offset comes whole, however small
 * the limits are (KIP-74). Sessions (KIP-227) are not kept: id 0 says so, and clients go on
 * without. Without transactions the last stable offset is the high watermark.
 */
import { limits } from "../../model/limits.ts";
import type { ReadAt } from "../../log/located.ts";
import { type Found, nextOffset } from "../../log/reader.ts";
import type { RequestOf, ResponseOf } from "../../wire/api.ts";
import { fetch } from "../../wire/apis/fetch.ts";
import { E } from "../../wire/errors.ts";
import { kafkaCode } from "../codes.ts";
import { type Context, serve } from "../handler.ts";
import { leaderEpochFault } from "../leader-epoch.ts";

type Request = RequestOf<typeof fetch>;
type Asked = Request["topics"][number]["partitions"][number];
type Answer = ResponseOf<typeof fetch>;
type PartitionAnswer = Answer["responses"][number]["partitions"][number];
type Item = { asked: Asked; read: ReadAt; error: number; found: Found | null };

const NO_RECORDS = Buffer.alloc(0);

export const fetchHandler = serve(fetch, async (request, context) => {
  const { services, peer } = context;
  if (request.sessionId !== 0) return refused(E.FETCH_SESSION_ID_NOT_FOUND);
  const maxBytes = Math.max(0, Math.min(request.maxBytes, limits.kafkaFetchBytesMax));
  const counts = lastOfEach(request);
  const topics = request.topics.map(({ topic, partitions }) => {
    services.waits.listen(topic);
    const own = partitions.filter((asked) => counts.has(asked));
    return { topic, items: own.map((asked) => item(context, topic, asked, maxBytes)) };
  });
  const items = topics.flatMap((t) => t.items);
  const until = services.now() + Math.min(request.maxWaitMs, limits.kafkaFetchWaitMsMax);
  for (;;) {
    const mark = services.waits.mark();
    await find(context, items, Math.min(maxBytes, peer.answerBytesMax()));
    const left = until - services.now();
    if (left <= 0 || peer.closed.aborted || isEnough(items, request.minBytes)) break;
    await services.waits.wait(
      items.map(({ read, found }) => ({ ...read, above: found?.highWatermark ?? 0 })),
      mark,
      left,
      peer.closed,
    );
  }
  return {
    throttleTimeMs: 0,
    errorCode: E.NONE,
    sessionId: 0,
    responses: topics.map(({ topic, items: own }) => ({
      topic,
      partitions: own.map((one) => answer(context, one)),
    })),
  };
});

/** A partition that is asked for twice is answered once, as asked for last (as in Kafka). */
function lastOfEach({ topics }: Request): Set<Asked> {
  const last = new Map<string, Asked>();
  for (const { topic, partitions } of topics) {
    for (const asked of partitions) last.set(`${topic}/${asked.partition}`, asked);
  }
  return new Set(last.values());
}

function refused(errorCode: number): Answer {
  return { throttleTimeMs: 0, errorCode, sessionId: 0, responses: [] };
}

function item({ services: { log } }: Context, topic: string, asked: Asked, max: number): Item {
  const { partition, fetchOffset: offset, partitionMaxBytes, currentLeaderEpoch } = asked;
  const read = {
    topic,
    partition,
    offset,
    maxBytes: Math.min(Math.max(partitionMaxBytes, 0), max),
  };
  const error = leaderEpochFault(currentLeaderEpoch, log.node.epoch);
  return { asked, read, error, found: null };
}

async function find({ services }: Context, items: Item[], maxBytes: number): Promise<void> {
  const open = items.filter(({ error }) => error === E.NONE);
  if (open.length === 0) return;
  const found = await services.reader.find(
    open.map(({ read }) => read),
    maxBytes,
  );
  found.forEach((one, i) => (open[i].found = one));
}

function isEnough(items: Item[], minBytes: number): boolean {
  let bytes = 0;
  for (const { error, found } of items) {
    if (error !== E.NONE || found === null || found.error !== null) return true;
    // more is there already, beyond a limit or in the next slice: nothing to wait for
    if (found.bytes > 0 && nextOffset(found) < found.highWatermark) return true;
    bytes += found.bytes;
  }
  // nothing to wait for: Kafka answers at once
  return items.length === 0 || bytes >= minBytes;
}

function answer({ services }: Context, { asked, error, found }: Item): PartitionAnswer {
  let errorCode = error;
  let records: Uint8Array = NO_RECORDS;
  if (found !== null && found.error !== null) errorCode = kafkaCode(found.error);
  if (found !== null && found.bytes > 0) {
    const taken = services.reader.take(found, services.buffers);
    if (taken === null) errorCode = E.CORRUPT_MESSAGE;
    else records = taken;
  }
  const known = found !== null && (errorCode === E.NONE || errorCode === E.OFFSET_OUT_OF_RANGE);
  const highWatermark = known ? found.highWatermark : -1;
  return {
    partitionIndex: asked.partition,
    errorCode,
    highWatermark,
    lastStableOffset: highWatermark,
    logStartOffset: known ? found.start : -1,
    abortedTransactions: null,
    preferredReadReplica: -1,
    records,
  };
}
