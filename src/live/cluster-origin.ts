/** Where live tracking reads and writes behind an uplink: in its cluster. */
import { limits } from "../model/limits.ts";
import { ClusterClient, clusterOptions } from "../uplink/cluster-client.ts";
import { ClusterPositions } from "./cluster-positions.ts";
import { ClusterSource } from "./cluster-source.ts";
import { LatestOwner } from "./latest-owner.ts";
import type { Origin } from "./origin.ts";

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
