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

  // --- the way up ---
  /** A first start looks so long for the cluster, then it fails; a later one goes on without. */
  uplinkStartMsMax: 10_000,
  /** The cluster's replicas have so long: three tries within a device's 30 s. */
  uplinkProduceMsMax: 8000,
  /** Of one request: what the cluster can write in one go, and what a broker's answer waits for. */
  uplinkRequestBytes: 1024 * 1024,
  /** Small batches leave as one up to this: 16 partitions fill a request. */
  uplinkBatchBytes: 64 * 1024,
  /** Requests on their way to a broker: Kafka's own bound, as it remembers five batches. */
  uplinkRequestsInFlight: 5,
  /** Read and not sent yet, of a partition and of all: two requests ahead, 16 partitions each. */
  uplinkLaneBytes: 256 * 1024,
  uplinkReadBytes: 8 * 1024 * 1024,
  /** What a person has to look at is tried again so often. */
  uplinkRefusedMs: 5000,
  /** Nothing got there for so long though something waits: the uplink counts as away. */
  uplinkAwayMs: 3000,
  /** How far the cluster has it is kept so often; a restart asks the cluster anyway. */
  uplinkSaveMs: 1000,
  /** What waits for it, and whether the cluster is away, is looked at so often. */
  uplinkTickMs: 250,
  /** At a stop under `mirrored`, for a cluster that is away to come back and acknowledge. */
  uplinkDrainMsMax: 5000,
  /** At a stop, for requests on their way. */
  uplinkStopMsMax: 1500,
} as const;
