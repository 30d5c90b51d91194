import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { maxTimestamp } from "../../src/batch/header.ts";
import {
  ATTRIBUTES,
  BASE_OFFSET,
  BASE_SEQUENCE,
  BATCH_LENGTH,
  CRC,
  LAST_OFFSET_DELTA,
  MAGIC,
  MAX_TIMESTAMP,
  RECORD_COUNT,
} from "../../src/batch/layout.ts";
import {
  BatchRefused,
  type BatchRules,
  type RecordError,
  validateBatch,
} from "../../src/kafka/validate-batch.ts";
import { limits } from "../../src/model/limits.ts";
import { type E, errorNames } from "../../src/wire/errors.ts";
import { compressBatch, forms, withRecords } from "../batch/compress.ts";
import {
  batchOf,
  changed,
  idempotent,
  ofRecord,
  recordBytes,
  recordsAt,
  withByte,
  withI64,
  withU32,
} from "./batches.ts";

const NOW = 1_700_000_000_000;
const HOUR = 3_600_000;
const rules: BatchRules = {
  version: 9,
  compact: false,
  maxBytes: 1_000_000,
  oldestMs: -Infinity,
  newestMs: NOW + HOUR,
};

type Verdict = { error: string; message: string; records: RecordError[] };

function verdict(bytes: Uint8Array | null, more: Partial<BatchRules> = {}): Verdict | number {
  try {
    return validateBatch(bytes, { ...rules, ...more });
  } catch (error) {
    if (!(error instanceof BatchRefused)) throw error;
    const { kafka, message, records } = error;
    return { error: errorNames.get(kafka) as string, message, records };
  }
}

const plain = batchOf(recordsAt(NOW));
const errorOf = (bytes: Uint8Array | null, more: Partial<BatchRules> = {}): string => {
  const found = verdict(bytes, more);
  return typeof found === "number" ? "none" : found.error;
};

describe.each(forms)("%s", (form) => {
  const pack = (batch: Uint8Array): Uint8Array => compressBatch(batch, form);

  test("a batch is good, and its newest record is told", () => {
    const times = [5, NOW, 7].map((timestamp) => ({ key: "k", value: "v", timestamp }));
    expect(verdict(pack(batchOf(times)))).toBe(NOW);
    // whatever the header says
    expect(verdict(withI64(pack(batchOf(times)), MAX_TIMESTAMP, 3))).toBe(NOW);
  });

  test("a record without a key is refused on a compacted topic, and named", () => {
    const batch = pack(batchOf([...recordsAt(NOW, 2), ...recordsAt(NOW, 2, null)]));
    expect(verdict(batch)).toBe(NOW);
    expect(verdict(batch, { compact: true })).toMatchObject({
      error: "INVALID_RECORD",
      records: [{ batchIndex: 2 }, { batchIndex: 3 }],
    });
    expect(errorOf(pack(plain), { compact: true })).toBe("none");
  });

  test("records ahead of or behind the time are refused, and named", () => {
    const ahead = pack(batchOf([...recordsAt(NOW, 2), ...recordsAt(NOW + HOUR + 1, 1)]));
    expect(verdict(ahead)).toMatchObject({
      error: "INVALID_TIMESTAMP",
      records: [{ batchIndex: 2 }],
    });
    expect(errorOf(pack(batchOf(recordsAt(NOW + HOUR))))).toBe("none");
    const behind = pack(batchOf(recordsAt(NOW - HOUR - 1)));
    expect(errorOf(behind)).toBe("none");
    expect(errorOf(behind, { oldestMs: NOW - HOUR })).toBe("INVALID_TIMESTAMP");
    // no time at all is always in time
    expect(errorOf(pack(batchOf(recordsAt(-1))), { oldestMs: NOW - HOUR })).toBe("none");
    expect(errorOf(ahead, { newestMs: Infinity })).toBe("none");
  });

  test("both at once: the time is told, as Kafka does", () => {
    const batch = pack(batchOf([...recordsAt(NOW, 1, null), ...recordsAt(NOW + 2 * HOUR, 1)]));
    expect(verdict(batch, { compact: true })).toMatchObject({
      error: "INVALID_TIMESTAMP",
      records: [{ batchIndex: 0 }, { batchIndex: 1 }],
    });
  });

  test("a byte that is wrong anywhere is refused, under a CRC that fits as well", () => {
    const batch = pack(batchOf([{ key: "key", value: "value", timestamp: NOW }, ...recordsAt(1)]));
    fc.assert(
      fc.property(fc.nat(batch.length - 1), fc.integer({ min: 1, max: 255 }), (at, xor) => {
        const spoiled = batch.slice();
        spoiled[at] ^= xor;
        // leader epoch: the log writes it
        if (at < 12 || at >= 16) expect(errorOf(spoiled)).not.toBe("none");
        const fitting = changed(spoiled, () => {});
        const found = verdict(fitting, { compact: true, maxBytes: 10_000 });
        expect(found).not.toMatchObject({ error: "UNKNOWN_SERVER_ERROR" });
      }),
    );
  });
});

describe("the batch as a whole", () => {
  const legacy = (magic: number): Uint8Array => withByte(plain, MAGIC, magic);
  const rows: [string, Uint8Array | null, keyof typeof E][] = [
    ["nothing", null, "INVALID_RECORD"],
    ["no bytes", new Uint8Array(0), "INVALID_RECORD"],
    ["a few bytes", plain.subarray(0, 11), "INVALID_RECORD"],
    ["less than it says", plain.subarray(0, plain.length - 1), "INVALID_RECORD"],
    ["more than it says", Buffer.concat([plain, Buffer.alloc(1)]), "INVALID_RECORD"],
    ["two batches", Buffer.concat([plain, plain]), "INVALID_RECORD"],
    ["a negative length", withU32(plain, BATCH_LENGTH, -1), "CORRUPT_MESSAGE"],
    ["the most negative length", withU32(plain, BATCH_LENGTH, -0x8000_0000), "CORRUPT_MESSAGE"],
    ["a length that overflows", withU32(plain, BATCH_LENGTH, 0x7fff_ffff), "INVALID_RECORD"],
    ["no length", withU32(plain, BATCH_LENGTH, 0), "CORRUPT_MESSAGE"],
    ["a header cut short", withU32(plain.slice(0, 50), BATCH_LENGTH, 38), "CORRUPT_MESSAGE"],
    ["magic 0", legacy(0), "INVALID_RECORD"],
    ["magic 1", legacy(1), "INVALID_RECORD"],
    ["magic 3", legacy(3), "CORRUPT_MESSAGE"],
    ["magic -1", legacy(255), "CORRUPT_MESSAGE"],
    ["a wrong CRC", plain.map((b, i) => (i === CRC ? b ^ 1 : b)), "CORRUPT_MESSAGE"],
    ["a base offset", withI64(plain, BASE_OFFSET, 7), "INVALID_RECORD"],
    ["too many records", withU32(plain, RECORD_COUNT, 4), "INVALID_RECORD"],
    ["too few records", withU32(plain, RECORD_COUNT, 2), "INVALID_RECORD"],
    ["no records", withU32(plain, RECORD_COUNT, 0), "INVALID_RECORD"],
    ["a negative count", withU32(plain, RECORD_COUNT, -1), "INVALID_RECORD"],
    ["a last offset too small", withU32(plain, LAST_OFFSET_DELTA, 1), "INVALID_RECORD"],
    ["a negative last offset", withU32(plain, LAST_OFFSET_DELTA, -1), "INVALID_RECORD"],
    [
      "a count that fits the last offset, but not the records",
      withU32(withU32(plain, RECORD_COUNT, 5), LAST_OFFSET_DELTA, 4),
      "INVALID_RECORD",
    ],
    ["a control batch", withByte(plain, ATTRIBUTES + 1, 0x20), "INVALID_RECORD"],
    ["a transaction", withByte(plain, ATTRIBUTES + 1, 0x10), "INVALID_RECORD"],
    ["the time of the append", withByte(plain, ATTRIBUTES + 1, 8), "INVALID_TIMESTAMP"],
    ["compression 5", withByte(plain, ATTRIBUTES + 1, 5), "UNSUPPORTED_COMPRESSION_TYPE"],
    ["compression 7", withByte(plain, ATTRIBUTES + 1, 7), "UNSUPPORTED_COMPRESSION_TYPE"],
    ["a producer without sequence", idempotent(recordsAt(NOW), 4, 0, -1), "INVALID_RECORD"],
    ["a producer without epoch", idempotent(recordsAt(NOW), 4, -1, 0), "INVALID_RECORD"],
  ];
  test.each(rows)("%s is refused", (_, bytes, error) => {
    const found = verdict(bytes);
    expect(found).toMatchObject({ error, records: [] });
    expect((found as Verdict).message).not.toBe("");
  });

  test("larger than max.message.bytes is refused, as large as that is not", () => {
    expect(errorOf(plain, { maxBytes: plain.length })).toBe("none");
    expect(errorOf(plain, { maxBytes: plain.length - 1 })).toBe("MESSAGE_TOO_LARGE");
  });

  test("zstd is for Produce 7 and later", () => {
    const packed = compressBatch(plain, "zstd");
    expect(errorOf(packed, { version: 6 })).toBe("UNSUPPORTED_COMPRESSION_TYPE");
    expect(errorOf(packed, { version: 7 })).toBe("none");
    expect(errorOf(compressBatch(plain, "lz4"), { version: 3 })).toBe("none");
  });

  test("an idempotent producer's batch is good", () => {
    expect(verdict(idempotent(recordsAt(NOW), 4, 0, 0))).toBe(NOW);
    // sequences are the log's to judge, where no producer is there is none
    expect(errorOf(withU32(plain, BASE_SEQUENCE, -5))).toBe("none");
  });
});

describe("its records", () => {
  // attributes, timestamp delta, offset delta, key length, value length, headers
  test.each<[string, number[], boolean]>([
    ["no key, no value", [0, 0, 0, 1, 1, 0], true],
    ["an empty key and value", [0, 0, 0, 0, 0, 0], true],
    ["a header without a value", [0, 0, 0, 1, 1, 2, 2, 97, 1], true],
    ["a header with an empty name and value", [0, 0, 0, 1, 1, 2, 0, 0], true],
    ["two headers", [0, 0, 0, 1, 1, 4, 2, 97, 2, 98, 2, 97, 1], true],
    ["an offset of its own", [0, 0, 2, 1, 1, 0], false],
    ["a negative offset", [0, 0, 1, 1, 1, 0], false],
    ["a key beyond the end", [0, 0, 0, 200, 1, 1, 0], false],
    ["a value beyond the end", [0, 0, 0, 1, 40, 0], false],
    ["bytes after the headers", [0, 0, 0, 1, 1, 0, 0], false],
    ["a negative number of headers", [0, 0, 0, 1, 1, 1], false],
    ["more headers than there are", [0, 0, 0, 1, 1, 4, 2, 97, 1], false],
    ["fewer headers than there are", [0, 0, 0, 1, 1, 2, 2, 97, 1, 2, 97, 1], false],
    ["a header without a name", [0, 0, 0, 1, 1, 2, 1, 1], false],
    ["a header's value beyond the end", [0, 0, 0, 1, 1, 2, 2, 97, 20], false],
    ["a number of more than 5 bytes", [0, 0, 255, 255, 255, 255, 255, 1, 1, 1, 0], false],
    ["no headers field", [0, 0, 0, 1, 1], false],
  ])("%s", (_, record, good) => {
    expect(errorOf(ofRecord(record))).toBe(good ? "none" : "INVALID_RECORD");
    const packed = ofRecord(record);
    const zipped = withRecords(packed, 1, gzipSync(recordBytes(packed)));
    expect(errorOf(zipped)).toBe(good ? "none" : "INVALID_RECORD");
  });

  test("offsets must be 0, 1, 2, …: compressed or not", () => {
    const spoiled = plain.slice();
    // the second record's offset delta
    const second = recordBytes(plain)[0] / 2 + 1;
    const bytes = recordBytes(spoiled);
    expect(bytes[second + 3]).toBe(2);
    bytes[second + 3] = 0;
    for (const form of forms) {
      const found = verdict(
        compressBatch(
          changed(spoiled, () => {}),
          form,
        ),
      );
      expect(found).toMatchObject({ error: "INVALID_RECORD" });
      expect((found as Verdict).message).toContain("record 1");
    }
  });

  test("compressed bytes that are none are refused", () => {
    const garbage = randomBytes(50);
    garbage[0] = 0xff;
    for (const codec of [1, 2, 3, 4]) {
      expect(errorOf(withRecords(plain, codec, garbage))).toBe("INVALID_RECORD");
    }
  });

  test("of very many bad records the first are named", () => {
    const batch = batchOf(recordsAt(NOW, 1000, null));
    const found = verdict(batch, { compact: true }) as Verdict;
    expect(found.records).toHaveLength(limits.kafkaRecordErrorsMax);
    expect(found.records.at(-1)?.batchIndex).toBe(limits.kafkaRecordErrorsMax - 1);
    expect(found.message).toContain("1000 records");
  });
});

describe("a batch too large when decompressed", () => {
  const bomb = batchOf([{ key: null, value: "x".repeat(900_000), timestamp: NOW }]);

  test.each(["gzip", "zstd"] as const)("%s: passes unopened, by its header", (form) => {
    const packed = compressBatch(bomb, form);
    expect(packed.length * limits.decompressRatioMax).toBeLessThan(bomb.length);
    expect(verdict(packed)).toBe(NOW);
    expect(maxTimestamp(packed)).toBe(NOW);
    expect(errorOf(withI64(packed, MAX_TIMESTAMP, NOW + 2 * HOUR))).toBe("INVALID_TIMESTAMP");
  });

  test.each(["gzip", "zstd"] as const)("%s: is refused where its keys matter", (form) => {
    const packed = compressBatch(bomb, form);
    expect(errorOf(packed, { compact: true })).toBe("MESSAGE_TOO_LARGE");
  });

  test("above the limit in bytes, too", () => {
    const records = Array.from({ length: 1100 }, () => {
      const value = randomBytes(400).toString("hex") + "x".repeat(15_000);
      return { key: "k", value, timestamp: NOW };
    });
    const large = batchOf(records);
    expect(large.length).toBeGreaterThan(limits.decompressBytesMax);
    const packed = compressBatch(large, "gzip");
    expect(packed.length * limits.decompressRatioMax).toBeGreaterThan(large.length);
    expect(verdict(packed)).toBe(NOW);
    expect(errorOf(packed, { compact: true })).toBe("MESSAGE_TOO_LARGE");
  });
});
