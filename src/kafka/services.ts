/** What handlers lean on. */
import type { GroupCoordinator } from "../groups/coordinator.ts";
import type { BufferPool } from "../lib/buffer-pool.ts";
import type { LogPort } from "../log/client.ts";
import type { LogReader } from "../log/reader.ts";
import type { Registry } from "../metrics/registry.ts";
import type { Waits } from "./waits.ts";

export type Services = {
  readonly nodeId: number;
  readonly clusterId: string;
  readonly dataDir: string;
  readonly log: LogPort;
  readonly reader: LogReader;
  readonly waits: Waits;
  /** What an answer was read into comes back here once it is sent. */
  readonly buffers: BufferPool;
  readonly groups: GroupCoordinator;
  readonly registry: Registry;
  /** A line for the operator. */
  report(line: string): void;
  /** ms. */
  now(): number;
};
