/** A real log thread of the tests, and ports to it. */
import { MessageChannel, Worker } from "node:worker_threads";
import { onTestFinished } from "vitest";
import { LogPort } from "../../src/log/client.ts";
import type { FromLogThread, LogThreadOptions, ToLogThread } from "../../src/log/protocol.ts";
import { partitionOf } from "../../src/partitions/murmur2.ts";

export type TestLog = { port(): Promise<LogPort>; stop(): Promise<void> };

/** Stops with the test, or with whatever `whenDone` waits for. */
export async function startLog(
  dir: string,
  whenDone: (stop: () => Promise<void>) => void = onTestFinished,
): Promise<TestLog> {
  const workerData: LogThreadOptions = {
    dir,
    diskMin: 0,
    durability: "flushed",
    uplink: null,
    now: Date.now(),
  };
  const worker = new Worker(new URL("../../src/log/thread.ts", import.meta.url), { workerData });
  let failure: Error | null = null;
  worker.on("error", (error) => (failure = error));
  const said = (wanted: string): Promise<void> =>
    new Promise((resolve) => {
      worker.on("message", (m: FromLogThread) => wanted in m && resolve());
      worker.on("exit", () => resolve());
    });
  await said("ready");
  let stopped = false;
  const stop = async (): Promise<void> => {
    if (stopped) return;
    stopped = true;
    const done = said("stopped");
    worker.postMessage({ stop: true } satisfies ToLogThread);
    await done;
    await worker.terminate();
    if (failure !== null) throw failure;
  };
  whenDone(stop);
  return {
    stop,
    async port() {
      const { port1, port2 } = new MessageChannel();
      worker.postMessage({ client: port2 } satisfies ToLogThread, [port2]);
      const log = new LogPort(port1, partitionOf);
      await log.ready();
      return log;
    },
  };
}
