/** The real log on a directory of its own, in this thread, behind a real port. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MessageChannel } from "node:worker_threads";
import { onTestFinished } from "vitest";
import { LogPort } from "../../../src/log/client.ts";
import { LogStore } from "../../../src/log/store.ts";
import { LogThread } from "../../../src/log/thread.ts";
import type { NewRecord } from "../../../src/log/types.ts";
import { MilepostError } from "../../../src/model/errors.ts";
import { partitionOf } from "../../../src/partitions/murmur2.ts";

export class TestLog extends LogPort {
  /** As when the disk is full. */
  failing = false;
  stop: () => void = () => {};

  override append(topic: string, records: NewRecord[]) {
    if (this.failing) return Promise.reject(new MilepostError("disk_full"));
    return super.append(topic, records);
  }
}

/** Open until `stop`. */
export async function openLog(): Promise<TestLog> {
  const dir = mkdtempSync(join(tmpdir(), "milepost-broker-"));
  const store = LogStore.open({ dir, diskMin: 0, now: Date.now(), log: () => {} });
  const thread = new LogThread(store);
  const { port1, port2 } = new MessageChannel();
  const log = new TestLog(port1, partitionOf);
  thread.addClient(port2);
  await log.ready();
  await log.call("createTopic", "__mqtt", 16, { "cleanup.policy": "compact" });
  await log.call("createTopic", "commands", 4, {});
  log.stop = () => {
    log.close();
    thread.stop();
    rmSync(dir, { recursive: true });
  };
  return log;
}

/** Open until the end of the test. */
export async function newLog(): Promise<TestLog> {
  const log = await openLog();
  onTestFinished(() => log.stop());
  return log;
}
