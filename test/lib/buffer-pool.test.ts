import { expect, test } from "vitest";
import { BufferPool } from "../../src/lib/buffer-pool.ts";

const KIB = 1024;

test("a large buffer that is given back is lent again, whole or as the part that was left", () => {
  const pool = new BufferPool(1024 * KIB);
  const first = pool.take(100 * KIB);
  expect(first.length).toBe(100 * KIB);
  pool.giveBack(first.subarray(90 * KIB));
  expect(pool.take(128 * KIB).buffer).toBe(first.buffer);
});

test("what is lent is lent to one, and given back once", () => {
  const pool = new BufferPool(1024 * KIB);
  const first = pool.take(100 * KIB);
  expect(pool.take(100 * KIB).buffer).not.toBe(first.buffer);
  pool.giveBack(first);
  pool.giveBack(first);
  const lent = [pool.take(100 * KIB), pool.take(100 * KIB)];
  expect(lent[0].buffer).toBe(first.buffer);
  expect(lent[1].buffer).not.toBe(first.buffer);
});

test("it keeps no more than it may, and nothing of others", () => {
  const pool = new BufferPool(256 * KIB);
  const lent = [1, 2, 3].map(() => pool.take(128 * KIB));
  for (const bytes of lent) pool.giveBack(bytes);
  const again = [1, 2, 3].map(() => pool.take(128 * KIB).buffer);
  expect(again.filter((buffer) => lent.some((bytes) => bytes.buffer === buffer)).length).toBe(2);
  const small = pool.take(100);
  pool.giveBack(small);
  pool.giveBack(new Uint8Array(128 * KIB));
  expect(pool.take(128 * KIB).byteOffset).toBe(0);
  expect(small.length).toBe(100);
});
