/** Reads the log from a thread that is not the log thread. */
import type { LogPort } from "./client.ts";

export class LogReader {
  readonly log: LogPort;

  constructor(log: LogPort) {
    this.log = log;
  }

  close(): void {}
}
