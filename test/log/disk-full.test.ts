import { execFileSync } from "node:child_process";
import { existsSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { LogStore } from "../../src/log/store.ts";
import { verifyDirectory } from "../../src/log/verify.ts";
import { mountSmall } from "../harness/small-disk.ts";
import { batchOf, readAll, toAppend } from "./fixture.ts";

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
});
