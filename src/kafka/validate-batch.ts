/**
 * What Kafka's broker looks at before it appends a batch of a client, with its error codes. Reads
 * every record, and changes nothing. A batch that is too large when decompressed is not opened:
 * bytes that the log never needs to open pass as they are.
 * Source: Kafka's ProduceRequest.validateRecords, UnifiedLog and LogValidator.
 */
import {
  attributes,
  baseOffset,
  baseSequence,
  batchBytes,
  batchCrc,
  isControl,
  lastOffsetDelta,
  maxTimestamp,
  producerEpoch,
  producerId,
  recordCount,
  u32,
} from "../batch/header.ts";
import { CRC, HEADER_BYTES, LENGTH_OVERHEAD, MAGIC } from "../batch/layout.ts";
import { RecordCursor } from "../batch/records.ts";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { E } from "../wire/errors.ts";
import { Refused } from "./refused.ts";

export type BatchRules = {
  /** Version of Produce. */
  version: number;
  /** Every record needs a key. */
  compact: boolean;
  maxBytes: number;
  /** Of a record's own time, both allowed; infinite where it will be overwritten. */
  oldestMs: number;
  newestMs: number;
};

export type RecordError = { batchIndex: number; batchIndexErrorMessage: string };

export class BatchRefused extends Refused {
  /** The first of the records for whose sake the batch is refused. */
  readonly records: RecordError[];
  constructor(code: number, message: string, records: RecordError[] = []) {
    super(code, message);
    this.records = records;
  }
}

/** The smallest that any magic has, its overhead included. */
const BATCH_BYTES_MIN = 26;
const CODEC_MASK = 7;
const ZSTD = 4;
const ZSTD_FROM_VERSION = 7;
const LOG_APPEND_TIME = 8;
const TRANSACTIONAL = 16;
/** What a record has that knows no time. */
const NO_TIMESTAMP = -1;

/** The newest timestamp of the batch's records. Throws `BatchRefused`. */
export function validateBatch(bytes: Uint8Array | null, rules: BatchRules): number {
  const batch = oneBatch(bytes, rules.version);
  checkHeader(batch, rules);
  return checkRecords(batch, rules);
}

function oneBatch(bytes: Uint8Array | null, version: number): Uint8Array {
  if (bytes === null || bytes.length < LENGTH_OVERHEAD) refuse(E.INVALID_RECORD, "no batch");
  const length = batchBytes(bytes);
  if (length < BATCH_BYTES_MIN) refuse(E.CORRUPT_MESSAGE, `a batch of ${length} bytes`);
  if (length > bytes.length) {
    refuse(E.INVALID_RECORD, `a batch of ${length} bytes, of which ${bytes.length} are here`);
  }
  const magic = bytes[MAGIC];
  if (magic > 2) refuse(E.CORRUPT_MESSAGE, `magic ${magic} is not known`);
  if (magic < 2) refuse(E.INVALID_RECORD, `magic ${magic}: only batches of magic 2 are taken`);
  if (length < HEADER_BYTES) refuse(E.CORRUPT_MESSAGE, `a batch of ${length} bytes`);
  const codec = attributes(bytes) & CODEC_MASK;
  if (codec > ZSTD) refuse(E.UNSUPPORTED_COMPRESSION_TYPE, `compression ${codec} is not known`);
  if (codec === ZSTD && version < ZSTD_FROM_VERSION) {
    refuse(E.UNSUPPORTED_COMPRESSION_TYPE, `zstd needs Produce ${ZSTD_FROM_VERSION} or later`);
  }
  if (length < bytes.length) refuse(E.INVALID_RECORD, "more than one batch for a partition");
  return bytes;
}

function checkHeader(batch: Uint8Array, { maxBytes }: BatchRules): void {
  if (baseOffset(batch) !== 0) refuse(E.INVALID_RECORD, `base offset ${baseOffset(batch)}, not 0`);
  if (batch.length > maxBytes) {
    refuse(E.MESSAGE_TOO_LARGE, `a batch of ${batch.length} bytes; max.message.bytes=${maxBytes}`);
  }
  if (u32(batch, CRC) !== batchCrc(batch)) refuse(E.CORRUPT_MESSAGE, "the CRC does not fit");
  const count = recordCount(batch);
  if (count <= 0) refuse(E.INVALID_RECORD, `a batch of ${count} records`);
  if (lastOffsetDelta(batch) !== count - 1) {
    refuse(E.INVALID_RECORD, `${count} records, but the last is ${lastOffsetDelta(batch)}`);
  }
  if (isControl(batch)) refuse(E.INVALID_RECORD, "clients may not write control records");
  if ((attributes(batch) & TRANSACTIONAL) !== 0) {
    refuse(E.INVALID_RECORD, "transactions are not served");
  }
  if ((attributes(batch) & LOG_APPEND_TIME) !== 0) {
    refuse(E.INVALID_TIMESTAMP, "clients may not set the time of the append");
  }
  if (producerId(batch) >= 0 && (baseSequence(batch) < 0 || producerEpoch(batch) < 0)) {
    const text = `sequence ${baseSequence(batch)}, epoch ${producerEpoch(batch)}`;
    refuse(E.INVALID_RECORD, `producer ${producerId(batch)}: ${text}`);
  }
}

function checkRecords(batch: Uint8Array, rules: BatchRules): number {
  const cursor = new RecordCursor();
  try {
    cursor.open(batch);
  } catch (error) {
    if (!(error instanceof MilepostError)) throw error;
    if (error.code !== "too_large") refuse(E.INVALID_RECORD, error.message);
    return checkUnopened(batch, rules);
  }
  try {
    return checkEach(cursor, rules);
  } catch (error) {
    if (error instanceof MilepostError) refuse(E.INVALID_RECORD, error.message);
    throw error;
  }
}

function checkEach(cursor: RecordCursor, rules: BatchRules): number {
  let newest = NO_TIMESTAMP;
  let [late, keyless] = [0, 0];
  const errors: RecordError[] = [];
  for (let i = 0; cursor.next(); i++) {
    const { offset, timestamp, keyStart } = cursor;
    cursor.checkHeaders();
    if (offset !== i) refuse(E.INVALID_RECORD, `record ${i} says that it is number ${offset}`);
    if (timestamp > newest) newest = timestamp;
    const hasKey = keyStart >= 0 || !rules.compact;
    if (hasKey && isInTime(timestamp, rules)) continue;
    if (hasKey) late++;
    else keyless++;
    if (errors.length >= limits.kafkaRecordErrorsMax) continue;
    const message = hasKey ? outOfTime(timestamp, rules) : "a compacted topic needs keys";
    errors.push({ batchIndex: i, batchIndexErrorMessage: message });
  }
  if (errors.length === 0) return newest;
  const code = late > 0 ? E.INVALID_TIMESTAMP : E.INVALID_RECORD;
  const text = `${late + keyless} records refused, the first: ${errors[0].batchIndexErrorMessage}`;
  throw new BatchRefused(code, text, errors);
}

function checkUnopened(batch: Uint8Array, rules: BatchRules): number {
  const newest = maxTimestamp(batch);
  if (rules.compact) {
    refuse(E.MESSAGE_TOO_LARGE, "too large when decompressed to look for its keys");
  }
  if (!isInTime(newest, rules)) refuse(E.INVALID_TIMESTAMP, outOfTime(newest, rules));
  return newest;
}

const isInTime = (timestamp: number, { oldestMs, newestMs }: BatchRules): boolean =>
  (timestamp >= oldestMs && timestamp <= newestMs) || timestamp === NO_TIMESTAMP;

const outOfTime = (timestamp: number, { oldestMs, newestMs }: BatchRules): string =>
  `timestamp ${timestamp} is not within ${oldestMs} to ${newestMs}`;

function refuse(code: number, message: string): never {
  throw new BatchRefused(code, message);
}
