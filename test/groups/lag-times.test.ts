import { expect, test } from "vitest";
import { type Behind, LagTimes } from "../../src/groups/lag-times.ts";
import { limits } from "../../src/model/limits.ts";

const at = (partition: number, offset: number): Behind => {
  return { group: "g", topic: "t", partition, offset, end: 1_000_000 };
};

test("a time is read once for each offset, and forgotten when the group caught up", async () => {
  const asked: string[] = [];
  const times = new LagTimes(async ({ partition, offset }) => {
    asked.push(`${partition}:${offset}`);
    return 1000 * offset;
  });
  await times.read([at(0, 5), at(1, 7)]);
  await times.read([at(0, 5), at(1, 8)]);
  expect(asked).toEqual(["0:5", "1:7", "1:8"]);
  expect([times.of(at(0, 5)), times.of(at(1, 8))]).toEqual([5000, 8000]);
  await times.read([at(1, 8)]);
  expect(times.of(at(0, 5))).toBe(null);
  await times.read([at(0, 5)]);
  expect(asked).toEqual(["0:5", "1:7", "1:8", "0:5"]);
});

test("so many are read at most, and in turn: none is left out for long", async () => {
  let asked = 0;
  const times = new LagTimes(async ({ offset }) => {
    asked++;
    return offset;
  });
  const { groupLagReadsMax } = limits;
  const partitions = Array.from({ length: 3 * groupLagReadsMax }, (_, p) => p);
  for (let offset = 0; offset < 12; offset++) {
    asked = 0;
    await times.read(partitions.map((p) => at(p, offset)));
    expect(asked).toBe(groupLagReadsMax);
    const known = partitions.map((p) => times.of(at(p, offset)));
    const ages = known.map((time) => offset - (time ?? -1));
    expect(Math.max(...ages)).toBeLessThanOrEqual(offset < 2 ? offset + 1 : 2);
  }
});
