import fc from "fast-check";
import { expect, test } from "vitest";
import { murmur2, partitionOf, partitionOfHash } from "../../src/partitions/murmur2.ts";

// Kafka's own: UtilsTest.testMurmur2.
test.each([
  ["21", -973932308],
  ["foobar", -790332482],
  ["a-little-bit-long-string", -985981536],
  ["a-little-bit-longer-string", -1486304829],
  ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
  ["abc", 479470107],
])("%s", (key, hash) => {
  const bytes = Buffer.from(key);
  expect(murmur2(bytes, 0, bytes.length)).toBe(hash);
  const within = Buffer.from(`xyz${key}xyz`);
  expect(murmur2(within, 3, 3 + key.length)).toBe(hash);
});

test("negative hashes lose their sign bit, not their sign", () => {
  const key = Buffer.from("21");
  expect(partitionOf(key, 0, 2, 16)).toBe((-973932308 & 0x7fffffff) % 16);
  expect(partitionOfHash(-1, 10)).toBe(0x7fffffff % 10);
});

test("every key has a partition, whatever lies around it", () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.integer({ min: 1, max: 8000 }), (key, partitions) => {
      const partition = partitionOf(key, 0, key.length, partitions);
      expect(Number.isInteger(partition) && partition >= 0 && partition < partitions).toBe(true);
      const within = Buffer.concat([Buffer.from([255]), key, Buffer.from([255])]);
      expect(partitionOf(within, 1, within.length - 1, partitions)).toBe(partition);
    }),
  );
});
