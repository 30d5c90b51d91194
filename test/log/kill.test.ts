import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { verifyDirectory } from "../../src/log/verify.ts";
import { appendOne, batchOf, newDirectory, openStore, readAll, text } from "./fixture.ts";

const child = fileURLToPath(new URL("kill-child.ts", import.meta.url));

/** Runs the child for a while, kills it, and gives back the lines it wrote whole. */
async function runAndKill(dir: string, seed: number, durability: string): Promise<string[]> {
  const args = [child, dir, String(seed), durability];
  const process_ = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  process_.stdout.setEncoding("utf8");
  process_.stdout.on("data", (chunk: string) => {
    if (out === "") setTimeout(() => process_.kill("SIGKILL"), 100 + (seed % 7) * 60);
    out += chunk;
  });
  await once(process_, "close");
  const lines = out.slice(0, out.lastIndexOf("\n")).split("\n");
  return lines.filter((line) => line !== "ready" && line !== "");
}

test.each(["flushed", "logged"])(
  "%s: after kill -9, again and again, what was acknowledged is there once",
  async (durability) => {
    const dir = newDirectory();
    let store = openStore(dir, Date.now());
    store.createTopic("t", 5, {
      "segment.bytes": "65536",
      "retention.bytes": "100000",
      "milepost.durability": durability,
    });
    appendOne(store, "t", 4, batchOf([{ key: "idle", value: "once" }]), Date.now());
    store.createTopic("c", 2, { "cleanup.policy": "compact", "segment.bytes": "16384" });
    store.close();

    const newest = new Map<string, number>();
    const acknowledged = new Map<string, string>();
    for (let round = 0; round < 5; round++) {
      const lines = await runAndKill(dir, 17 + round * 101, durability);
      expect(lines.length).toBeGreaterThan(0);
      for (const line of lines) {
        if (line.startsWith("c ")) {
          const [, p, offset, key] = line.split(" ");
          newest.set(`${p}/${key}`, Number(offset));
          continue;
        }
        const [partition, base, count, value] = line.split(" ");
        for (let i = 0; i < Number(count); i++) {
          const place = `${partition}/${Number(base) + i}`;
          expect(acknowledged.has(place), `${place} given twice`).toBe(false);
          acknowledged.set(place, value);
        }
      }
      expect(verifyDirectory(dir)).toEqual([]);
      store = openStore(dir, Date.now());
      expect(store.recovery).toMatchObject({ clean: false, cut: [], damaged: [] });
      for (const { partition, start, end } of store.describe("t").slice(0, 4)) {
        const records = new Map(
          readAll(store, "t", partition).map((r) => [r.offset, text(r.value)]),
        );
        expect([...records.keys()]).toEqual(
          Array.from({ length: end - start }, (_, i) => start + i),
        );
        for (const [place, value] of acknowledged) {
          const [p, offset] = place.split("/").map(Number);
          if (p !== partition || offset < start) continue;
          expect(records.get(offset)?.startsWith(`${value}-`), place).toBe(true);
        }
      }
      for (const p of [0, 1]) {
        const found = new Map(readAll(store, "c", p).map((r) => [text(r.key), r.offset]));
        for (const [place, offset] of newest) {
          const [partition, key] = place.split("/");
          if (Number(partition) === p) expect(found.get(key)).toBeGreaterThanOrEqual(offset);
        }
      }
      const idle = store.describe("t")[4];
      expect(idle.end).toBe(1);
      store.close();
    }
    store = openStore(dir, Date.now());
    // retention has turned the log over meanwhile, or does so now
    const more = batchOf([{ key: "more", value: "x".repeat(20_000) }]);
    for (let i = 0; i < 200 && store.describe("t")[4].start === 0; i++) {
      appendOne(store, "t", 0, more, Date.now());
      store.tick(Date.now());
    }
    expect(store.describe("t")[4].start).toBe(1);
    expect(appendOne(store, "t", 4, batchOf([{ key: "idle", value: "again" }]))).toBe(1);
    store.close();
  },
);
