/** Limits of what speaks to the cluster behind an uplink; part of `limits`. */
export const uplinkLimits = {
  /** A request for which somebody waits; and one of the reading that goes on behind. */
  clusterAnswerMsMax: 3000,
  clusterReadMsMax: 15_000,
  /** A fetch waits so long for a first byte. */
  clusterPollMs: 500,
  /** No answer for so long: the cluster counts as away. */
  clusterSilentMsMax: 2000,
  /** One answer of a node: two of them are held at most. */
  clusterFetchBytes: 4 * 1024 * 1024,
  clusterFetchPartitionBytes: 512 * 1024,
  /** Who leads what is asked so often; a topic made anew is seen by then. */
  clusterMetadataMs: 5000,
  clusterRetryMsMin: 100,
  clusterRetryMsMax: 1000,
  /** A first start begins so long before the newest of topic `latest`: what was not in it yet. */
  latestBackMs: 300_000,
} as const;
