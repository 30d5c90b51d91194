/**
 * Appends batches as they are: each is looked at, and the good ones go to the log in one message.
 * Whatever `acks` asks for, an answer comes when the batch is at its topic's durability. Requests
 * of one connection reach the log in their order, on their way beside each other.
 */
import { ATTRIBUTES, MAX_TIMESTAMP } from "../../batch/layout.ts";
import { maxTimestamp, setCrc, setI64 } from "../../batch/header.ts";
import type { Appended, IndexedTopic } from "../../log/protocol.ts";
import { errorTable } from "../../model/errors.ts";
import { limits } from "../../model/limits.ts";
import { effectiveConfig, logSettings, type LogSettings } from "../../model/topic-config.ts";
import type { RequestOf, ResponseOf } from "../../wire/api.ts";
import { produce } from "../../wire/apis/produce.ts";
import { E } from "../../wire/errors.ts";
import { failure } from "../failure.ts";
import { type Context, Hangup, type Peer, serve } from "../handler.ts";
import { refusal, Refused } from "../refused.ts";
import { refuseReserved, topicOfPartition } from "../topic-access.ts";
import { BatchRefused, validateBatch } from "../validate-batch.ts";

type Request = RequestOf<typeof produce>;
type Response = ResponseOf<typeof produce>;
type Asked = Request["topicData"][number]["partitionData"][number];
type Answer = Response["responses"][number]["partitionResponses"][number];

/** One partition of a request; `bytes` null: refused, or not looked at yet. */
type Item = { topic: string; asked: Asked; answer: Answer; bytes: Uint8Array | null };

/** Before it come message sets. Advertised all the same, or clients stop to compress (KIP-896). */
const SERVED_FROM = 3;
const ALL = -1;
const LOG_APPEND_TIME = 8;

export const produceHandler = serve(
  produce,
  async (request, context) => {
    const items = itemsOf(request);
    const wrong = wrongRequest(request, context);
    if (wrong !== null) {
      for (const item of items) refuse(item, wrong);
    } else {
      const { appended } = await inTurn(context.peer, async () => {
        await lookThrough(items, request, context);
        return { appended: handOver(items.filter(isGood), context) };
      });
      await appended;
    }
    return request.acks === 0 ? unanswered(items) : response(request, items);
  },
  {
    overlaps: true,
    refuse(request, errorCode, version) {
      if (request.acks === 0) return null;
      return failure(produce.responseFields, version, request, errorCode) as Response;
    },
  },
);

function itemsOf({ topicData }: Request): Item[] {
  return topicData.flatMap(({ name, partitionData }) =>
    partitionData.map((asked) => ({
      topic: name,
      asked,
      answer: {
        index: asked.index,
        errorCode: E.NONE,
        baseOffset: -1,
        logAppendTimeMs: -1,
        logStartOffset: -1,
        recordErrors: [],
        errorMessage: null,
      },
      bytes: null,
    })),
  );
}

/** With acks=0 an error can only be told by closing the connection. */
function unanswered(items: Item[]): null {
  const bad = items.find(({ answer }) => answer.errorCode !== E.NONE);
  if (bad === undefined) return null;
  const { index, errorCode, errorMessage } = bad.answer;
  throw new Hangup(`acks=0, ${bad.topic}/${index}: error ${errorCode}, ${errorMessage}`);
}

function response({ topicData }: Request, items: Item[]): Response {
  let at = 0;
  const responses = topicData.map(({ name, partitionData }) => ({
    name,
    partitionResponses: partitionData.map(() => items[at++].answer),
  }));
  return { responses, throttleTimeMs: 0 };
}

function wrongRequest({ acks, transactionalId }: Request, { version }: Context): Refused | null {
  if (version < SERVED_FROM) {
    return new Refused(E.UNSUPPORTED_VERSION, `Produce ${version} is not served`);
  }
  if (transactionalId !== null)
    return new Refused(E.INVALID_TXN_STATE, "transactions are not served");
  if (acks < ALL || acks > 1) return new Refused(E.INVALID_REQUIRED_ACKS, `acks=${acks}`);
  return null;
}

function refuse({ answer }: Item, error: unknown): void {
  const { errorCode, errorMessage } = refusal(error);
  answer.errorCode = errorCode;
  answer.errorMessage = errorMessage;
  if (error instanceof BatchRefused) answer.recordErrors = error.records;
}

/** By connection, the request that is looked at or was last: those behind it stay behind it. */
const turns = new WeakMap<Peer, Promise<unknown>>();

function inTurn<T>(peer: Peer, work: () => Promise<T>): Promise<T> {
  const turn = (turns.get(peer) ?? Promise.resolve()).then(work);
  const settled = turn.catch(() => {});
  turns.set(peer, settled);
  return turn;
}

/** Whoever sends much that is compressed does not hold up the other connections. */
async function lookThrough(items: Item[], request: Request, context: Context): Promise<void> {
  let until = performance.now() + limits.kafkaStepMs;
  for (const item of items) {
    try {
      lookAt(item, request, context);
    } catch (error) {
      refuse(item, error);
    }
    if (performance.now() < until) continue;
    await new Promise((resolve) => setImmediate(resolve));
    until = performance.now() + limits.kafkaStepMs;
  }
}

function lookAt(item: Item, { acks }: Request, context: Context): void {
  const { topic, asked, answer } = item;
  const { version, services } = context;
  refuseReserved(topic);
  const settings = settingsOf(topicOfPartition(context, topic, asked.index), context);
  if (acks === ALL && settings.minInsyncReplicas > 1) {
    const text = `min.insync.replicas=${settings.minInsyncReplicas}, and there is one node`;
    throw new Refused(E.NOT_ENOUGH_REPLICAS, text);
  }
  const now = services.now();
  const { compact, logAppendTime, maxMessageBytes: maxBytes } = settings;
  const newest = validateBatch(asked.records, {
    version,
    compact,
    maxBytes,
    oldestMs: logAppendTime ? -Infinity : now - settings.timestampBeforeMaxMs,
    newestMs: logAppendTime ? Infinity : now + settings.timestampAfterMaxMs,
  });
  item.bytes = asked.records as Uint8Array;
  if (logAppendTime) {
    answer.logAppendTimeMs = now;
    item.bytes[ATTRIBUTES + 1] |= LOG_APPEND_TIME;
    setI64(item.bytes, MAX_TIMESTAMP, now);
    setCrc(item.bytes);
  } else if (newest !== maxTimestamp(item.bytes)) {
    // look-ups by time go by it
    setI64(item.bytes, MAX_TIMESTAMP, newest);
    setCrc(item.bytes);
  }
}

const known = new WeakMap<IndexedTopic, LogSettings>();

function settingsOf(topic: IndexedTopic, { services }: Context): LogSettings {
  let settings = known.get(topic);
  if (settings === undefined) {
    settings = logSettings(effectiveConfig(topic.config, services.log.node.defaults));
    known.set(topic, settings);
  }
  return settings;
}

type Good = Item & { bytes: Uint8Array };
const isGood = (item: Item): item is Good => item.bytes !== null;

async function handOver(items: Good[], { services }: Context): Promise<void> {
  if (items.length === 0) return;
  const batches = items.map(({ topic, asked, bytes }) => {
    return { topic, partition: asked.index, bytes };
  });
  try {
    const appended = await services.log.appendBatches(batches, true);
    items.forEach((item, i) => settle(item, appended[i]));
  } catch (error) {
    for (const item of items) refuse(item, error);
  }
}

function settle({ answer }: Item, { error, baseOffset, logStart }: Appended): void {
  answer.logStartOffset = logStart;
  if (error === null) {
    answer.baseOffset = baseOffset;
    return;
  }
  answer.errorCode = errorTable[error].kafka;
  answer.errorMessage = errorTable[error].text;
  answer.logAppendTimeMs = -1;
}
