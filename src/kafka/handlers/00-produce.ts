/**
 * Batches go to the log as they came. acks 1 and all are answered when the topic's durability is
 * reached; with acks 0 there is no answer, and an error closes the connection, as Kafka does it.
 * Requests of a connection overlap: the log takes batches in the order they were handed over.
 */
import type { IndexedTopic } from "../../log/protocol.ts";
import { effectiveConfig, isReserved, logSettings } from "../../model/topic-config.ts";
import type { RequestOf, ResponseOf } from "../../wire/api.ts";
import { produce } from "../../wire/apis/produce.ts";
import { E } from "../../wire/errors.ts";
import { kafkaCode } from "../codes.ts";
import { failure } from "../failure.ts";
import { type Context, Hangup, serve } from "../handler.ts";
import { type Fault, type Rules, validateBatch } from "../validate-batch.ts";

type Request = RequestOf<typeof produce>;
type Answer = ResponseOf<typeof produce>;
type PartitionAnswer = Answer["responses"][number]["partitionResponses"][number];
type Asked = Request["topicData"][number]["partitionData"][number];
type TopicRules = Rules & { minInsync: number };
type Batch = { topic: string; partition: number; bytes: Uint8Array };

/** Message sets of magic 0 and 1. */
const VERSION_MIN = 3;
const REPLICAS = 1;

const rulesOf = new WeakMap<IndexedTopic, TopicRules>();

function rules(topic: IndexedTopic): TopicRules {
  let found = rulesOf.get(topic);
  if (found === undefined) {
    const config = effectiveConfig(topic.config);
    found = { ...logSettings(config), minInsync: Number(config["min.insync.replicas"]) };
    rulesOf.set(topic, found);
  }
  return found;
}

export const produceHandler = serve(
  produce,
  async (request, context) => {
    const { services, version } = context;
    const now = services.now();
    const batches: Batch[] = [];
    /** In the order of the request: what is refused, or where its batch stands. */
    const topics = request.topicData.map(({ name, partitionData }) => {
      const topic = services.log.topic(name);
      const items = partitionData.map((asked) => {
        const fault =
          requestFault(request, version) ?? admit(context, topic, name, asked, request, now);
        if (fault !== null) return { asked, fault, at: -1 };
        batches.push({ topic: name, partition: asked.index, bytes: asked.records as Uint8Array });
        return { asked, fault, at: batches.length - 1 };
      });
      const stamped = topic !== null && rules(topic).logAppendTime;
      return { name, items, appendTimeMs: stamped ? now : -1 };
    });
    const appended = batches.length === 0 ? [] : await services.log.appendBatches(batches, true);
    const responses = topics.map(({ name, items, appendTimeMs }) => ({
      name,
      partitionResponses: items.map(({ asked, fault, at }) => {
        if (fault !== null) return refused(asked.index, fault);
        const { baseOffset, error, logStart } = appended[at];
        const code = error === null ? E.NONE : kafkaCode(error);
        if (code !== E.NONE)
          return refused(asked.index, { code, message: String(error), record: -1 });
        return {
          index: asked.index,
          errorCode: E.NONE,
          baseOffset,
          logAppendTimeMs: appendTimeMs,
          logStartOffset: logStart,
          recordErrors: [],
          errorMessage: null,
        };
      }),
    }));
    if (request.acks !== 0) return { responses, throttleTimeMs: 0 };
    const bad = responses.flatMap((r) => r.partitionResponses).find((p) => p.errorCode !== E.NONE);
    if (bad !== undefined) throw new Hangup(`acks=0, error ${bad.errorCode}: ${bad.errorMessage}`);
    return null;
  },
  {
    overlaps: true,
    refuse(request, code, version) {
      if (request.acks === 0) return null;
      return failure(produce.responseFields, version, request, code) as Answer;
    },
  },
);

/** What makes every partition of the request fail alike. */
function requestFault({ acks, transactionalId }: Request, version: number): Fault | null {
  const all = (code: number, message: string): Fault => ({ code, message, record: -1 });
  if (version < VERSION_MIN) {
    return all(E.UNSUPPORTED_VERSION, "message sets of magic 0 and 1 are not served");
  }
  if (acks < -1 || acks > 1) return all(E.INVALID_REQUIRED_ACKS, `acks=${acks}`);
  if (transactionalId !== null) {
    return all(E.INVALID_TXN_STATE, "transactions are not served");
  }
  return null;
}

function admit(
  { version }: Context,
  topic: IndexedTopic | null,
  name: string,
  { index, records }: Asked,
  { acks }: Request,
  now: number,
): Fault | null {
  if (isReserved(name)) {
    const message = "topics whose names begin with __ are the node's own";
    return { code: E.TOPIC_AUTHORIZATION_FAILED, message, record: -1 };
  }
  if (topic === null || index < 0 || index >= topic.partitions) {
    return { code: E.UNKNOWN_TOPIC_OR_PARTITION, message: "no such partition", record: -1 };
  }
  const own = rules(topic);
  if (acks === -1 && own.minInsync > REPLICAS) {
    const message = `min.insync.replicas is ${own.minInsync}, there is one replica`;
    return { code: E.NOT_ENOUGH_REPLICAS, message, record: -1 };
  }
  if (records === null) return { code: E.INVALID_RECORD, message: "no records", record: -1 };
  return validateBatch(records, own, version, now);
}

function refused(index: number, { code, message, record }: Fault): PartitionAnswer {
  return {
    index,
    errorCode: code,
    baseOffset: -1,
    logAppendTimeMs: -1,
    logStartOffset: -1,
    recordErrors: record < 0 ? [] : [{ batchIndex: record, batchIndexErrorMessage: message }],
    errorMessage: message,
  };
}
