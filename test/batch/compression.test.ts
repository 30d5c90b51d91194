import { gzipSync, zstdCompressSync } from "node:zlib";
import snappy from "snappyjs";
import { describe, expect, test } from "vitest";
import { decompress } from "../../src/batch/compression.ts";
import { verifyBatch } from "../../src/batch/header.ts";
import { recordsOf } from "../../src/batch/records.ts";
import { limits } from "../../src/model/limits.ts";
import { batchOf } from "../log/batches.ts";
import { compressBatch, forms, xerial } from "./compress.ts";

const plain = Buffer.from("a position, ".repeat(200));
const gzip = 1;
const snappyCodec = 2;
const lz4 = 3;
const zstd = 4;

const lz4Head = "04224d18" + "60" + "40" + "82"; // magic, version 1 + independent, 64 KB, checksum
const lz4End = "00000000";

describe("decompress", () => {
  test.each([
    ["gzip", gzip, gzipSync(plain)],
    ["snappy", snappyCodec, snappy.compress(plain)],
    [
      "snappy in xerial's framing",
      snappyCodec,
      xerial(plain.subarray(0, 999), plain.subarray(999)),
    ],
    ["zstd", zstd, zstdCompressSync(plain)],
  ])("%s", (_, codec, bytes) => {
    expect(Buffer.from(decompress(codec, bytes)).equals(plain)).toBe(true);
  });

  test.each([
    // token: 3 literals, match of 4; "abc"; distance 3; then 5 literals
    [
      "a match that overlaps itself",
      "0c000000" + "30616263" + "0300" + "50" + "68656c6c6f",
      "abcabcahello",
    ],
    // token: 1 literal, match of 15 + 4 + 16; distance 1
    ["a long match", "05000000" + "1f" + "61" + "0100" + "10", "a".repeat(36)],
    ["an uncompressed block", "03000080" + "78797a", "xyz"],
    ["no block", "", ""],
    // 15 + 2 literals
    [
      "many literals",
      "13000000" + "f002" + Buffer.from("0123456789abcdefg").toString("hex"),
      "0123456789abcdefg",
    ],
  ])("lz4: %s", (_, blocks, expected) => {
    const bytes = Buffer.from(lz4Head + blocks + lz4End, "hex");
    expect(Buffer.from(decompress(lz4, bytes)).toString()).toBe(expected);
  });

  test("lz4: content size, checksums of blocks and content are stepped over", () => {
    const flags = "7c"; // version 1, independent, block checksums, content size, content checksum
    const head = "04224d18" + flags + "40" + "0300000000000000" + "00";
    const bytes = Buffer.from(
      head + "03000080" + "78797a" + "ffffffff" + lz4End + "ffffffff",
      "hex",
    );
    expect(Buffer.from(decompress(lz4, bytes)).toString()).toBe("xyz");
  });

  test.each([
    ["lz4: not a frame", lz4, "00112233445566778899"],
    ["lz4: a block longer than what is there", lz4, lz4Head + "ff000000" + "61"],
    ["lz4: no end", lz4, lz4Head + "03000080" + "78797a"],
    ["lz4: a match before the beginning", lz4, lz4Head + "04000000" + "1061" + "0900" + lz4End],
    ["gzip: garbage", gzip, "0011223344"],
    ["snappy: garbage", snappyCodec, "ff11223344"],
    [
      "snappy: a chunk longer than what is there",
      snappyCodec,
      "82534e4150505900" + "0000000100000001" + "000000ff" + "00",
    ],
    ["zstd: garbage", zstd, "0011223344"],
    ["no such codec", 7, "00"],
  ])("%s is refused", (_, codec, hex) => {
    expect(() => decompress(codec, Buffer.from(hex, "hex"))).toThrow("not a valid record batch");
  });

  test.each([
    ["gzip", gzip, gzipSync(Buffer.alloc(limits.decompressBytesMax + 1))],
    ["zstd", zstd, zstdCompressSync(Buffer.alloc(limits.decompressBytesMax + 1))],
    ["gzip, by ratio", gzip, gzipSync(Buffer.alloc(1_000_000))],
    ["snappy", snappyCodec, snappy.compress(Buffer.alloc(limits.decompressBytesMax + 1))],
    // 40 bytes that say they hold 250 KB
    [
      "lz4, by ratio",
      lz4,
      Buffer.from(lz4Head + "e9030000" + "1f610100" + "ff".repeat(996) + "00" + lz4End, "hex"),
    ],
  ])("a bomb is too large: %s", (_, codec, bytes) => {
    expect(() => decompress(codec, bytes)).toThrow("larger than the limit");
  });
});

test.each(forms)("a batch of %s gives the records of the plain one", (form) => {
  const records = Array.from({ length: 50 }, (_, i) => ({
    key: `k${i}`,
    value: `v${i}`.repeat(9),
  }));
  const batch = batchOf(records);
  const packed = compressBatch(batch, form);
  expect(verifyBatch(packed)).toBe(true);
  const strings = (b: Uint8Array) =>
    [...recordsOf(b)].map((r) => [
      r.offset,
      `${Buffer.from(r.key ?? [])}`,
      `${Buffer.from(r.value ?? [])}`,
    ]);
  expect(strings(packed)).toEqual(strings(batch));
});
