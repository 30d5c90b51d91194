/**
 * Who writes topic `latest` behind an uplink: the gateways are a consumer group of `positions`, and
 * the drivers of a partition are written by the one that has it. Straight to the cluster: what
 * waited in a gateway's own log while that was cut off would come behind its successor's.
 */
import { limits } from "../model/limits.ts";
import type { ClusterClient } from "../uplink/cluster-client.ts";
import { Membership, type MembershipOptions, sessionMs } from "../uplink/membership.ts";
import { LATEST_TOPIC, type LatestLog } from "./latest.ts";
import { TOPIC } from "./tracker.ts";

const GROUP = "milepost-latest";

export class LatestOwner implements LatestLog {
  readonly #client: ClusterClient;
  readonly #membership: Membership;
  #owned = new Set<number>();
  /** When the group was last heard to count on this member. */
  #sureMs = -Infinity;

  constructor(options: MembershipOptions, client: ClusterClient, report: (line: string) => void) {
    this.#client = client;
    this.#membership = new Membership(options, GROUP, [TOPIC], {
      assigned: (assignment) => {
        this.#sureMs = performance.now();
        this.#owned = new Set(assignment.flatMap(({ partitions }) => partitions));
      },
      revoked: () => this.#owned.clear(),
      failed: (reason) => {
        this.#owned.clear();
        report(`uplink: topic ${LATEST_TOPIC} is not written here: ${reason}`);
      },
      say: (line) => report(`uplink: ${line}`),
    });
    const { consumer } = this.#membership;
    consumer.on("consumer:heartbeat:end", () => (this.#sureMs = performance.now()));
    void this.#membership.join();
  }

  /** One that stood still for long may have been given up, and not know it yet. */
  owns(partition: number): boolean {
    return this.#owned.has(partition) && performance.now() - this.#sureMs < sessionMs;
  }

  get owned(): number {
    return this.#owned.size;
  }

  async topic(name: string): Promise<{ partitions: number } | null> {
    if (this.#owned.size === 0) return null;
    const topic = await this.#client.topic(name, limits.clusterMetadataMs).catch(() => null);
    return topic === null ? null : { partitions: topic.leaders.length };
  }

  async appendBatches(
    batches: { topic: string; partition: number; bytes: Uint8Array }[],
  ): Promise<{ error: string | null }[]> {
    const written = new Set<number>();
    const topic = await this.#client
      .topic(LATEST_TOPIC, limits.clusterMetadataMs)
      .catch(() => null);
    const byNode = Map.groupBy(batches, ({ partition }) => topic?.leaders[partition]?.node ?? -1);
    const writing = [...byNode].map(async ([node, own]) => {
      const wanted = own.map(({ bytes, ...place }) => ({ ...place, batch: bytes }));
      for (const { partition, errorCode } of await this.#client.produce(node, wanted)) {
        if (errorCode === 0) written.add(partition);
      }
    });
    await Promise.allSettled(writing);
    if (written.size < batches.length) this.#client.forget();
    return batches.map(({ partition }) => {
      return { error: written.has(partition) ? null : "not written" };
    });
  }

  async close(): Promise<void> {
    this.#owned.clear();
    await this.#membership.leave().catch(() => {});
  }
}
