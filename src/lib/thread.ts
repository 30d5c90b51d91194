import { Worker, type WorkerOptions } from "node:worker_threads";

const first = new URL("../../bin/launcher/thread.js", import.meta.url);

/** A thread that runs a TypeScript file of this program. */
export function startThread(file: URL, options: WorkerOptions): Worker {
  return new Worker(first, { ...options, argv: [file.href] });
}
