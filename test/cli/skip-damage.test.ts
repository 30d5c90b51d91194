import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { LogStore } from "../../src/log/store.ts";
import { startGateway } from "../harness/gateway.ts";
import { appendOne, batchOf, sliceFiles, tickMany } from "../log/fixture.ts";
import { milepost } from "./run.ts";

const dir = mkdtempSync(join(tmpdir(), "milepost-skip-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Ten batches of two records in sealed slices, one bit of offsets 6 and 7 flipped. */
function damagedLog(): void {
  const now = Date.now();
  const store = LogStore.open({ dir, diskMin: 0, now, log: () => {} });
  store.createTopic("t", 2, { "segment.bytes": "65536" });
  const value = "x".repeat(20_000);
  for (let i = 0; i < 10; i++) {
    const batch = batchOf([0, 1].map((n) => ({ key: `k${i}-${n}`, value })));
    appendOne(store, "t", 1, batch, now);
    tickMany(store, now, 3);
  }
  store.close();
  for (const file of sliceFiles(dir, "t")) {
    const bytes = readFileSync(file);
    const at = bytes.indexOf("k3-1");
    if (at < 0) continue;
    bytes[at + 1000] ^= 4;
    writeFileSync(file, bytes);
  }
}

const dumped = async (): Promise<{ code: number | null; offsets: number[] }> => {
  const { code, stdout } = await milepost(["dump", "t", "--data-dir", dir, "--json"]);
  const lines = stdout.split("\n").filter(Boolean);
  return { code, offsets: lines.map((line) => JSON.parse(line).offset as number) };
};

test("an operator moves readers past a flipped bit; nothing else goes", async () => {
  damagedLog();
  expect(await dumped()).toEqual({ code: 1, offsets: [0, 1, 2, 3, 4, 5] });

  const gateway = await startGateway({ dataDir: dir });
  const server = ["--server", `127.0.0.1:${gateway.ports.admin}`];
  const skip = (...args: string[]) => milepost(["topics", "skip-damage", ...args, ...server]);
  expect(await skip("t/1")).toMatchObject({ code: 2, stdout: "" });
  expect((await skip("t", "--yes")).code).toBe(2);
  expect(await skip("t/9", "--yes")).toMatchObject({ code: 1 });
  const sound = await skip("t/0", "--yes");
  expect(sound).toMatchObject({ code: 1, stderr: "milepost: t/0: nothing of it is damaged\n" });

  const skipped = await skip("t/1", "--yes");
  expect(skipped).toEqual({ code: 0, stdout: "", stderr: "t/1: readers skip offsets 6 to 7\n" });
  expect(gateway.stderr()).toContain("operator: readers of t/1 skip damage, 6 to 7");
  const again = await skip("t/1", "--yes", "--json");
  expect(again.stderr).toContain("nothing of it is damaged");
  await gateway.stop();

  const offsets = Array.from({ length: 20 }, (_, i) => i).filter((i) => i !== 6 && i !== 7);
  expect(await dumped()).toEqual({ code: 0, offsets });
});
