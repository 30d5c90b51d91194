/**
 * Kafka's default partitioner, on byte ranges: the same key goes to the same partition here and
 * through any Kafka producer. Source: Kafka's `Utils.murmur2` and `BuiltInPartitioner`.
 */
const SEED = 0x9747b28c | 0;
const M = 0x5bd1e995;

/** As Java has it: a signed 32-bit integer. */
export function murmur2(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start;
  let h = SEED ^ length;
  let p = start;
  for (const whole = start + (length & ~3); p < whole; p += 4) {
    let k = bytes[p] | (bytes[p + 1] << 8) | (bytes[p + 2] << 16) | (bytes[p + 3] << 24);
    k = Math.imul(k, M);
    k = Math.imul(k ^ (k >>> 24), M);
    h = Math.imul(h, M) ^ k;
  }
  const rest = end - p;
  if (rest > 0) {
    if (rest === 3) h ^= bytes[p + 2] << 16;
    if (rest >= 2) h ^= bytes[p + 1] << 8;
    h = Math.imul(h ^ bytes[p], M);
  }
  h = Math.imul(h ^ (h >>> 13), M);
  return h ^ (h >>> 15);
}

/** The partition of a key whose `murmur2` is `hash`. */
export function partitionOfHash(hash: number, partitions: number): number {
  return (hash & 0x7fffffff) % partitions;
}

export function partitionOf(
  bytes: Uint8Array,
  start: number,
  end: number,
  partitions: number,
): number {
  return partitionOfHash(murmur2(bytes, start, end), partitions);
}
