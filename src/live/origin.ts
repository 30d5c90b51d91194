/** All that live tracking reads and writes: in this gateway's log, or in an uplink's cluster. */
import type { LogPort } from "../log/client.ts";
import type { LogReader } from "../log/reader.ts";
import type { LatestLog } from "./latest.ts";
import { LogSource } from "./log-source.ts";
import type { PingSource } from "./ping-source.ts";
import { LogPositions, type Positions } from "./positions.ts";

export type Origin = {
  source: PingSource;
  positions: Positions;
  latest: LatestLog;
  /** Whether topic `latest` is written here for drivers of this partition. */
  owns: (partition: number) => boolean;
  close(): Promise<void>;
};

export function logOrigin(log: LogPort, reader: LogReader, report: (line: string) => void): Origin {
  return {
    source: new LogSource({ log, reader, report }),
    positions: new LogPositions(log, reader),
    latest: log,
    owns: () => true,
    close: () => Promise.resolve(),
  };
}
