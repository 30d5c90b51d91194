/**
 * RecordBatch v2 (magic 2), the bytes on disk, on the wire and on followers. Offsets into the
 * 61-byte header; all integers big-endian. Source: Kafka's protocol guide, "Record Batch".
 *
 * `BASE_OFFSET` and `LEADER_EPOCH` lie before the bytes under the CRC (`ATTRIBUTES` to the end),
 * so the log stamps them without a new CRC.
 */
export const BASE_OFFSET = 0; // int64
export const BATCH_LENGTH = 8; // int32: bytes after this field
export const LEADER_EPOCH = 12; // int32
export const MAGIC = 16; // int8 = 2
export const CRC = 17; // uint32, CRC-32C of ATTRIBUTES to the end
export const ATTRIBUTES = 21; // int16: codec 0-2, timestamp type 3, transactional 4, control 5
export const LAST_OFFSET_DELTA = 23; // int32
export const BASE_TIMESTAMP = 27; // int64, ms
export const MAX_TIMESTAMP = 35; // int64, ms
export const PRODUCER_ID = 43; // int64, -1 = none
export const PRODUCER_EPOCH = 51; // int16
export const BASE_SEQUENCE = 53; // int32
export const RECORD_COUNT = 57; // int32
export const HEADER_BYTES = 61;
/** What a batch's bytes are longer than its `BATCH_LENGTH` field says. */
export const LENGTH_OVERHEAD = 12;
