import { appendFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type Standings, StandingsFile } from "../../src/uplink/standings-file.ts";
import { mountSmall } from "../harness/small-disk.ts";

const disk = mountSmall(2);
const isThere = "dir" in disk;
const why = isThere ? "" : `; skipped: ${disk.missing}`;
afterAll(() => (isThere ? disk.unmount() : undefined));

const standings = (id: number, topics = 1): Standings => {
  const row = { there: "t".repeat(1000), here: "h", partitions: [] };
  const all = Array.from({ length: topics }, (_, n) => [`topic-${n}`, row]);
  return { producer: { id, epoch: 0 }, home: 1, topics: Object.fromEntries(all) };
};

describe.skipIf(!isThere)(`where an uplink stands${why}`, () => {
  const { dir } = disk as { dir: string };

  test("a full disk keeps what was there, and what comes after is written again", async () => {
    const file = new StandingsFile(dir);
    expect(await file.read()).toBeNull();
    expect(await file.write(standings(1))).toBe(true);
    const filler = join(dir, "filler");
    const fill = () => {
      for (;;) appendFileSync(filler, Buffer.alloc(4096));
    };
    expect(fill).toThrow(/ENOSPC/);
    expect(await file.write(standings(2, 100))).toBe(false);
    expect(await file.write(standings(3, 100))).toBe(false);
    expect((await new StandingsFile(dir).read())?.producer.id).toBe(1);
    rmSync(filler);
    expect(await file.write(standings(4, 100))).toBe(true);
    expect((await new StandingsFile(dir).read())?.producer.id).toBe(4);
  });

  test("one that is cut short is not taken for none", async () => {
    writeFileSync(join(dir, "uplink.json"), '00000000\n{"producer":');
    await expect(new StandingsFile(dir).read()).rejects.toThrow(/uplink\.json.*once more/);
  });
});
