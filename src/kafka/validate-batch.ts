/**
 * Whether a produced batch may go into the log, by the rules of Kafka's LogValidator. Records are
 * walked, compressed ones too, where they open within the limits; what does not is taken as it is
 * by a topic that never looks inside.
 */
import {
  attributes,
  baseOffset,
  baseSequence,
  batchBytes,
  isControl,
  lastOffsetDelta,
  maxTimestamp,
  producerEpoch,
  producerId,
  recordCount,
  setCrc,
  setI64,
  u32,
  batchCrc,
} from "../batch/header.ts";
import { codecs } from "../batch/compression.ts";
import { ATTRIBUTES, CRC, HEADER_BYTES, MAGIC, MAX_TIMESTAMP } from "../batch/layout.ts";
import { RecordCursor } from "../batch/records.ts";
import { MilepostError } from "../model/errors.ts";
import type { LogSettings } from "../model/topic-config.ts";
import { E } from "../wire/errors.ts";

export type Rules = Pick<
  LogSettings,
  "compact" | "maxMessageBytes" | "logAppendTime" | "timestampBeforeMaxMs" | "timestampAfterMaxMs"
>;

/** `record`: the one at fault, by its place in the batch; -1: the batch as such. */
export type Fault = { code: number; message: string; record: number };

const CODEC = 7;
const ZSTD = 4;
/** zstd came with this version of Produce (KIP-110). */
const ZSTD_FROM_VERSION = 7;
const TRANSACTIONAL = 0x10;
const LOG_APPEND_TIME = 8;

const fault = (code: number, message: string, record = -1): Fault => ({ code, message, record });

const cursor = new RecordCursor();

/**
 * Null: it may. `bytes` is changed where the topic stamps times, or the batch tells a maximum that
 * its records do not have.
 */
export function validateBatch(
  bytes: Uint8Array,
  rules: Rules,
  version: number,
  nowMs: number,
): Fault | null {
  return (
    headerFault(bytes, rules, version) ??
    recordsFault(bytes, rules, nowMs) ??
    stampTimes(bytes, rules, nowMs)
  );
}

function headerFault(b: Uint8Array, rules: Rules, version: number): Fault | null {
  if (b.length < HEADER_BYTES) return fault(E.INVALID_RECORD, "not a whole batch");
  if (b[MAGIC] !== 2) return fault(E.INVALID_RECORD, `magic ${b[MAGIC]} is not served, only 2`);
  const length = batchBytes(b);
  if (length < HEADER_BYTES || length > b.length) {
    return fault(E.CORRUPT_MESSAGE, `a batch of ${length} bytes in ${b.length}`);
  }
  if (length < b.length) return fault(E.INVALID_RECORD, "more than one batch for a partition");
  if (length > rules.maxMessageBytes) {
    const text = `the batch has ${length} bytes, max.message.bytes is ${rules.maxMessageBytes}`;
    return fault(E.MESSAGE_TOO_LARGE, text);
  }
  if (u32(b, CRC) !== batchCrc(b)) return fault(E.CORRUPT_MESSAGE, "the batch fails its CRC");
  const attribute = attributes(b);
  const codec = attribute & CODEC;
  if (codec >= codecs.length) {
    return fault(E.UNSUPPORTED_COMPRESSION_TYPE, `codec ${codec} is not known`);
  }
  if (codec === ZSTD && version < ZSTD_FROM_VERSION) {
    return fault(E.UNSUPPORTED_COMPRESSION_TYPE, "zstd needs Produce 7 or later");
  }
  if (isControl(b)) return fault(E.INVALID_RECORD, "clients write no control batches");
  if ((attribute & TRANSACTIONAL) !== 0) {
    return fault(E.INVALID_RECORD, "transactions are not served");
  }
  const count = recordCount(b);
  if (count < 1 || lastOffsetDelta(b) !== count - 1) {
    return fault(E.INVALID_RECORD, `${count} records, last offset delta ${lastOffsetDelta(b)}`);
  }
  if (producerId(b) >= 0 && (producerEpoch(b) < 0 || baseSequence(b) < 0)) {
    return fault(E.INVALID_RECORD, "a producer id without an epoch and a sequence");
  }
  return null;
}

function recordsFault(b: Uint8Array, rules: Rules, nowMs: number): Fault | null {
  const base = baseOffset(b);
  const earliest = nowMs - rules.timestampBeforeMaxMs;
  const latest = nowMs + rules.timestampAfterMaxMs;
  let max = -1;
  let i = 0;
  try {
    cursor.open(b);
    for (; cursor.next(); i++) {
      if (cursor.offset - base !== i) {
        return fault(E.INVALID_RECORD, `record ${i} has offset delta ${cursor.offset - base}`, i);
      }
      if (rules.compact && cursor.keyStart < 0) {
        return fault(E.INVALID_RECORD, "a record of a compacted topic needs a key", i);
      }
      const { timestamp } = cursor;
      if (timestamp > max) max = timestamp;
      if (rules.logAppendTime || timestamp < 0) continue;
      if (timestamp > latest || timestamp < earliest) {
        return fault(E.INVALID_TIMESTAMP, `time ${timestamp} is too far from ${nowMs}`, i);
      }
    }
  } catch (error) {
    if (!(error instanceof MilepostError)) throw error;
    // it opens to more than the limits allow: never opened, and of no harm unopened
    if (error.code === "too_large" && !rules.compact) return null;
    const code = error.code === "too_large" ? E.MESSAGE_TOO_LARGE : E.INVALID_RECORD;
    return fault(code, error.message, i);
  }
  // look-ups by time trust it
  if (!rules.logAppendTime && max !== maxTimestamp(b)) {
    setI64(b, MAX_TIMESTAMP, max);
    setCrc(b);
  }
  return null;
}

function stampTimes(b: Uint8Array, { logAppendTime }: Rules, nowMs: number): null {
  const wanted = logAppendTime ? LOG_APPEND_TIME : 0;
  const has = attributes(b) & LOG_APPEND_TIME;
  if (logAppendTime) setI64(b, MAX_TIMESTAMP, nowMs);
  if (has !== wanted) b[ATTRIBUTES + 1] ^= LOG_APPEND_TIME;
  if (logAppendTime || has !== wanted) setCrc(b);
  return null;
}
