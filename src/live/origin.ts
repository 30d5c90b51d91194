/** All that live tracking reads and writes: in this gateway's log, or in an uplink's cluster. */
import type { LogPort } from "../log/client.ts";
import type { LogReader } from "../log/reader.ts";
import { limits } from "../model/limits.ts";
import { ClusterClient, clusterOptions } from "../uplink/cluster-client.ts";
import { ClusterPositions } from "./cluster-positions.ts";
import { ClusterSource } from "./cluster-source.ts";
import type { LatestLog } from "./latest.ts";
import { LatestOwner } from "./latest-owner.ts";
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

export function clusterOrigin(
  brokers: string[],
  now: () => number,
  report: (line: string) => void,
): Origin {
  const options = clusterOptions(brokers, "live");
  const following = new ClusterClient(clusterOptions(brokers, "live", limits.clusterReadMsMax));
  // for those who wait: a fetch that follows would hold them up
  const asking = new ClusterClient(options);
  const latest = new LatestOwner(options, asking, report);
  return {
    source: new ClusterSource({ client: following, now, report }),
    positions: new ClusterPositions(asking),
    latest,
    owns: (partition) => latest.owns(partition),
    close: async () => {
      await latest.close();
      await Promise.all([following.close(), asking.close()]);
    },
  };
}
