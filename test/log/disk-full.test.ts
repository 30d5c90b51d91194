import { execFileSync } from "node:child_process";
import { existsSync, rmSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readHeaders } from "../../src/log/recovery.ts";
import { LogStore } from "../../src/log/store.ts";
import { verifyDirectory } from "../../src/log/verify.ts";
import { mountSmall } from "../harness/small-disk.ts";
import { batchOf, readAll, sliceFiles, toAppend } from "./fixture.ts";

const disk = mountSmall(64);
const title = "missing" in disk ? `a full disk (${disk.missing})` : "a full disk";

describe.skipIf("missing" in disk)(title, () => {
  if ("missing" in disk) return;
  afterAll(disk.unmount);

  const value = "x".repeat(20_000);
  const pair = () => [0, 1].map((p) => toAppend("t", p, batchOf([{ key: "k", value }])));
  const ballast = join(disk.dir, "ballast");

  test("below the watermark nothing is written, reads go on, and it resumes by itself", () => {
    const dir = join(disk.dir, "watermark");
    const lines: string[] = [];
    const log = (line: string) => lines.push(line);
    const store = LogStore.open({ dir, diskMin: null, now: 0, log });
    store.createTopic("t", 2, {});
    let now = 1000;
    let commits = 0;
    while (store.writable && commits < 3000) {
      const batches = pair();
      store.append(batches, (now += 300));
      if (batches[0].error === null) commits++;
      else expect(batches.map((b) => b.error)).toEqual(["disk_full", "disk_full"]);
      if (commits === 100) {
        execFileSync("fallocate", ["-l", "34M", ballast]);
      }
    }
    expect(store.writable).toBe(false);
    expect(lines.join("\n")).toContain("below its watermark");
    const refused = pair();
    store.append(refused, now);
    expect(refused[0].error).toBe("disk_full");
    expect(readAll(store, "t", 0)).toHaveLength(commits);
    unlinkSync(ballast);
    store.tick((now += 300));
    expect(store.writable).toBe(true);
    const accepted = pair();
    store.append(accepted, now);
    expect(accepted.map((b) => b.baseOffset)).toEqual([commits, commits]);
    store.deleteTopic("t");
    store.close();
  });

  test("a buffer that filled the disk makes room as soon as the cluster has it", async () => {
    const dir = join(disk.dir, "buffer");
    const store = LogStore.open({ dir, diskMin: null, now: 0, log: () => {}, uplink: true });
    store.createTopic("t", 2, {});
    let now = 1000;
    execFileSync("fallocate", ["-l", "34M", ballast]);
    while (store.writable && now < 1_000_000) store.append(pair(), (now += 300));
    expect(store.writable).toBe(false);
    for (let n = 0; n < 10; n++) store.tick((now += 300));
    expect([store.writable, store.describe("t")[0].start]).toEqual([false, 0]);
    const { mirrored } = store.topic("t");
    for (const { partition, end } of store.describe("t")) (mirrored ?? [])[partition] = end;
    // files go when no reader holds them any more
    const isWritable = () => {
      store.tick((now += 300));
      return store.writable;
    };
    await expect.poll(isWritable).toBe(true);
    unlinkSync(ballast);
    store.close();
    rmSync(dir, { recursive: true });
  });

  test("no room at the commit: refused as a whole, nothing half done, then it goes on", () => {
    const dir = join(disk.dir, "commit");
    const store = LogStore.open({ dir, diskMin: 0, now: 0, log: () => {} });
    store.createTopic("t", 2, { "segment.bytes": "3000000" });
    let commits = 0;
    for (; commits < 300; commits++) store.append(pair(), 1);
    // between two looks at the watermark somebody else fills the disk
    try {
      execFileSync("dd", ["if=/dev/zero", `of=${ballast}`, "bs=64k"], { stdio: "pipe" });
    } catch {}
    let refused = 0;
    for (let i = 0; i < 200; i++) {
      const batches = pair();
      store.append(batches, 2);
      const errors = new Set(batches.map((b) => b.error));
      expect(errors.size).toBe(1);
      if (errors.has(null)) commits++;
      else refused++;
    }
    expect(refused).toBeGreaterThan(0);
    expect(store.describe("t").map((p) => p.end)).toEqual([commits, commits]);
    expect(readAll(store, "t", 1)).toHaveLength(commits);
    for (let i = 0; i < 5; i++) store.tick(2 + i);
    unlinkSync(ballast);
    for (let i = 0; i < 200; i++) {
      const batches = pair();
      store.append(batches, 3);
      expect(batches[0].error).toBeNull();
      commits++;
    }
    store.close();
    expect(verifyDirectory(dir)).toEqual([]);
    const again = LogStore.open({ dir, diskMin: 0, now: 4, log: () => {} });
    expect(again.recovery).toMatchObject({ cut: [], damaged: [] });
    expect(readAll(again, "t", 0)).toHaveLength(commits);
    again.close();
    expect(existsSync(join(dir, "damaged"))).toBe(false);
  });

  const fillDisk = (): void => {
    try {
      execFileSync("dd", ["if=/dev/zero", `of=${ballast}`, "bs=4k"], { stdio: "pipe" });
    } catch {}
  };

  test("retention makes room again, though nothing else can be done", async () => {
    const dir = join(disk.dir, "retention");
    const store = LogStore.open({ dir, diskMin: 0, now: 0, log: () => {} });
    store.createTopic("t", 2, { "segment.bytes": "3000000", "retention.ms": "1000" });
    for (let i = 0; i < 600; i++) store.append(pair(), 1);
    expect(sliceFiles(dir, "t").length).toBeGreaterThan(3);
    fillDisk();
    // the open slice has expired, too, and there may be no room for the one after it
    for (let i = 0; i < 10; i++) store.tick(100_000 + i);
    await expect.poll(() => sliceFiles(dir, "t").length).toBeLessThan(3);
    const batches = pair();
    store.append(batches, 101_000);
    expect(batches.map((b) => [b.error, b.baseOffset])).toEqual([
      [null, 600],
      [null, 600],
    ]);
    unlinkSync(ballast);
    store.close();
  });

  test("a change of durability that found no room is made up for before the next append", () => {
    const dir = join(disk.dir, "level");
    const store = LogStore.open({ dir, diskMin: 0, now: 0, log: () => {} });
    store.createTopic("t", 2, { "milepost.durability": "logged" });
    store.append(pair(), 1);
    // room for the setting, in pages of the manifest that are free again; none for a slice
    for (let i = 1; i < 9; i++) store.alterTopic("t", { "retention.ms": `${i}000000` });
    fillDisk();
    expect(() => store.alterTopic("t", { "milepost.durability": "flushed" })).toThrow("disk");
    expect(store.effectiveConfig("t")["milepost.durability"]).toBe("flushed");
    unlinkSync(ballast);
    store.append(pair(), 2);
    const { meta } = readHeaders(sliceFiles(dir, "t").at(-1) as string);
    expect(meta.flushed).toBe(true);
    store.close();
  });
});
