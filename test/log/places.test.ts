import { expect, test } from "vitest";
import { recordsOf } from "../../src/batch/records.ts";
import type { Place } from "../../src/log/protocol.ts";
import { LogReader } from "../../src/log/reader.ts";
import { newDirectory } from "./fixture.ts";
import { startLog } from "./log-thread.ts";

test("who asks is told where each commit lies, and reads it without asking", async () => {
  const thread = await startLog(newDirectory());
  const [log, other] = [await thread.port(), await thread.port()];
  await log.call("createTopic", "t", 2, {});
  const reader = new LogReader(log);
  const read: [partition: number, offset: number, value: string][] = [];
  const told: (Place | undefined)[] = [];
  other.onCommitted("t", (_partition, _highWatermark, place) => told.push(place));
  log.onCommitted(
    "t",
    (partition, highWatermark, place) => {
      const { offset, located } = place as Place;
      expect(located).toMatchObject({ error: null, highWatermark });
      const found = reader.told(located);
      if (found === null) throw new Error("nowhere");
      const bytes = reader.take(found) as Uint8Array;
      for (const record of recordsOf(bytes)) {
        read.push([partition, record.offset, Buffer.from(record.value as Uint8Array).toString()]);
      }
      expect(read.at(-1)?.[1]).toBe(highWatermark - 1);
      expect(offset).toBeLessThan(highWatermark);
    },
    true,
  );
  // it listens on a port of its own
  await other.call("describe", "t");
  for (let i = 0; i < 20; i++) {
    await log.append("t", [{ key: null, value: Buffer.from(`v${i}`), partition: i % 2 }]);
  }
  await expect.poll(() => told.length, { timeout: 15_000 }).toBe(20);
  expect(told.every((place) => place === undefined)).toBe(true);
  expect(read).toEqual(Array.from({ length: 20 }, (_, i) => [i % 2, Math.floor(i / 2), `v${i}`]));
  reader.close();
});
