/** What the admin port asks of the node. */
import type {
  AdminBackend,
  GroupStanding,
  TopicChange,
  TopicDescription,
} from "../admin/backend.ts";
import type { Check } from "../lib/health.ts";
import type { GroupSummary } from "../groups/admin.ts";
import type { OffsetMove, Reset } from "../groups/reset.ts";
import type { Broker } from "../listeners/broker/broker.ts";
import { routesOf, takesPings } from "../listeners/routes.ts";
import type { LogPort } from "../log/client.ts";
import { clusterIsAway, type LogMetrics } from "../log/protocol.ts";
import type { TopicInfo } from "../log/types.ts";
import { toPrometheus } from "../metrics/prometheus.ts";
import { MilepostError } from "../model/errors.ts";
import { isReserved } from "../model/topic-config.ts";
import { mergeSnapshots, type MetricSnapshot } from "../metrics/registry.ts";
import type { GroupsPort } from "./group-requests.ts";
import { NODE } from "./threads.ts";
import type { UplinkStatus } from "./uplink-status.ts";

export type BackendOptions = {
  log: LogPort;
  broker: Broker;
  /** Null: there are none here. */
  groups: GroupsPort | null;
  /** Null: this log is all there is. */
  uplink: UplinkStatus | null;
  snapshots: () => Promise<MetricSnapshot[][]>;
  /** What an operator did to the log, for the node's own record. */
  report: (line: string) => void;
};

export class NodeBackend implements AdminBackend {
  readonly #o: BackendOptions;
  readonly #log: LogPort;
  readonly #report: (line: string) => void;
  draining = false;

  constructor(options: BackendOptions) {
    this.#o = options;
    this.#log = options.log;
    this.#report = options.report;
  }

  topics(): TopicInfo[] {
    return this.#log.topics().map(({ name, id, partitions, config }) => {
      return { name, id, partitions, config };
    });
  }

  async describe(name: string): Promise<TopicDescription> {
    const [config, partitions] = await Promise.all([
      this.#log.call("effectiveConfig", name),
      this.#log.describe(name),
    ]);
    return {
      topic: name,
      config,
      partitions: partitions.map(({ partition, start, end, highWatermark, leaderEpoch }) => ({
        partition,
        start,
        end,
        highWatermark,
        leader: NODE,
        leaderEpoch,
        replicas: [NODE],
        isr: [NODE],
      })),
    };
  }

  async createTopic(
    name: string,
    partitions: number,
    config: Record<string, string>,
  ): Promise<void> {
    this.#refuseThere(name);
    await this.#log.call("createTopic", name, partitions, config);
  }

  async alterTopic(name: string, { config, partitions }: TopicChange): Promise<void> {
    if (partitions !== null) this.#refuseThere(name);
    if (Object.keys(config).length > 0) await this.#log.call("alterTopic", name, config);
    if (partitions !== null) await this.#log.call("addPartitions", name, partitions);
  }

  async deleteTopic(name: string): Promise<void> {
    this.#refuseThere(name);
    return this.#log.call("deleteTopic", name);
  }

  async skipDamage(name: string, partition: number): Promise<{ from: number; to: number } | null> {
    const skipped = await this.#log.call("skipDamage", name, partition);
    if (skipped !== null) {
      const { from, to } = skipped;
      this.#report(`operator: readers of ${name}/${partition} skip damage, ${from} to ${to - 1}`);
    }
    return skipped;
  }

  #groups(): GroupsPort {
    const { groups } = this.#o;
    if (groups !== null) return groups;
    throw new MilepostError("in_cluster", "consumer groups");
  }

  /** Of topics, what only the cluster can do. */
  #refuseThere(name: string): void {
    if (this.#o.uplink === null || isReserved(name)) return;
    throw new MilepostError("in_cluster", `topic ${name}`);
  }

  async groups(): Promise<GroupSummary[]> {
    return this.#groups().call("list");
  }

  async describeGroup(group: string): Promise<GroupStanding> {
    return this.#groups().call("describe", group);
  }

  async deleteGroup(group: string): Promise<void> {
    await this.#groups().call("delete", group);
    this.#report(`operator: deleted group ${JSON.stringify(group)}`);
  }

  async resetGroup(group: string, reset: Reset): Promise<OffsetMove[]> {
    const moves = await this.#groups().call("reset", group, reset);
    if (!reset.dryRun && moves.length > 0) {
      const partitions = `${moves.length} ${moves.length === 1 ? "partition" : "partitions"}`;
      this.#report(`operator: reset ${partitions} of group ${JSON.stringify(group)}`);
    }
    return moves;
  }

  async command(driver: string, bytes: Uint8Array): Promise<{ partition: number; offset: number }> {
    // it would be delivered some time, after its sender was told that it is not
    if (this.#log.unwritable === clusterIsAway) throw new MilepostError("uplink");
    return this.#o.broker.command(driver, bytes);
  }

  async metrics(): Promise<string> {
    const [log, threads] = await Promise.all([this.#log.call("metrics"), this.#o.snapshots()]);
    return toPrometheus(mergeSnapshots([...threads, log.thread, logSnapshot(log)]));
  }

  checks(): Check[] {
    const { writable, unwritable } = this.#log;
    const takes = takesPings(routesOf(this.#log.topics()));
    return [
      {
        name: "log",
        ok: writable,
        detail: writable ? "writable" : unwritable,
      },
      ...(this.#o.uplink === null ? [] : [this.#o.uplink.check]),
      { name: "topics", ok: takes, detail: takes ? "pings are taken" : "none takes pings" },
      { name: "node", ok: !this.draining, detail: this.draining ? "draining" : "running" },
    ];
  }
}

const PARTITION_GAUGES = [
  ["end", "milepost_log_end_offset", "Offset of the next record"],
  ["highWatermark", "milepost_high_watermark", "Offset up to which readers see"],
  ["start", "milepost_log_start_offset", "First offset that can be read"],
] as const;

function logSnapshot(m: LogMetrics): MetricSnapshot[] {
  const rows: MetricSnapshot[] = [];
  const gauge = (name: string, help: string, value: number, labels = {}): void => {
    rows.push({ name, help, labels, type: "gauge", value, merge: "sum" });
  };
  const counter = (name: string, help: string, value: number): void => {
    rows.push({ name, help, labels: {}, type: "counter", value });
  };
  for (const p of m.partitions) {
    const labels = { topic: p.topic, partition: String(p.partition) };
    for (const [field, name, help] of PARTITION_GAUGES) gauge(name, help, p[field], labels);
  }
  for (const t of m.topics) {
    gauge("milepost_log_size_bytes", "Size of the files", t.bytes, { topic: t.topic });
  }
  gauge("milepost_log_slices", "Slices, each an LMDB environment", m.slices);
  gauge("milepost_log_writable", "0 while the disk or a buffer is full", Number(m.writable));
  counter("milepost_log_commits_total", "Transactions", m.commits);
  counter("milepost_log_written_bytes_total", "Batches written", m.bytesWritten);
  return rows;
}
