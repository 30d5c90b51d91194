import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startGateway } from "../harness/gateway.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "milepost-failure-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** What only the data of such a thread has. */
const marks = { log: "dir", ingest: "producer", kafka: "advertise", live: "staleMs" };
type Thread = keyof typeof marks;

test.each(Object.keys(marks) as Thread[])(
  "a fault in the %s thread ends the process with 1",
  async (thread) => {
    // loaded into every thread
    const preload = join(dir, "fault.mjs");
    const sign = join(dir, "now");
    writeFileSync(
      preload,
      `import { existsSync } from "node:fs";
     import { isMainThread, workerData } from "node:worker_threads";
     if (!isMainThread && "${marks[thread]}" in workerData) {
       setInterval(() => {
         if (existsSync(${JSON.stringify(sign)})) throw new Error("a fault");
       }, 20);
     }`,
    );
    const gateway = await startGateway({
      dataDir: join(dir, "data"),
      args: ["--workers", "2"],
      env: { NODE_OPTIONS: `--import ${preload}` },
    });
    writeFileSync(sign, "");
    expect(await gateway.ended()).toBe(1);
    expect(gateway.stderr()).toMatch(new RegExp(`the ${thread}.* thread failed: .*a fault`));
    expect(gateway.stderr()).not.toContain("Assertion failed");
  },
);
