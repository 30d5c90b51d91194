import { buckets, quantile, sum, sumBy } from "./scrape.ts";
import type { Buckets, Sample } from "./scrape.ts";
import { count } from "./terminal.ts";

/** What one look at `/metrics` tells. */
export type Reading = {
  atMs: number;
  messages: Map<string, number>;
  connections: Map<string, number>;
  acks: Buckets;
  acked: number;
  rejected: number;
  shed: number;
  /** Records per topic: the sum of the partitions' end offsets. */
  ends: Map<string, number>;
  logBytes: number;
  /** Positions that are in Parquet files; null: nobody has said so yet. */
  filed: number | null;
};

export function read(samples: Sample[], atMs: number): Reading {
  return {
    atMs,
    messages: sumBy(samples, "milepost_ingest_messages_total", "transport"),
    connections: sumBy(samples, "milepost_connections", "transport"),
    acks: buckets(samples, "milepost_ack_duration_seconds"),
    acked: sum(samples, "milepost_ack_duration_seconds_count"),
    rejected: sum(samples, "milepost_ingest_rejected_total"),
    shed: sum(samples, "milepost_ingest_shed_total"),
    ends: sumBy(samples, "milepost_log_end_offset", "topic"),
    logBytes: sum(samples, "milepost_log_size_bytes"),
    filed: filedOf(samples),
  };
}

function filedOf(samples: Sample[]): number | null {
  const lags = samples.filter(
    ({ name, labels }) =>
      name === "milepost_consumer_group_lag" && labels["group"] === "sink-parquet",
  );
  if (lags.length === 0) return null;
  const end = sumBy(samples, "milepost_log_end_offset", "topic").get("positions") ?? 0;
  return Math.max(0, end - lags.reduce((all, { value }) => all + value, 0));
}

/** What happened between two readings, and how things stand at the second. */
export type Figures = {
  perSecond: Map<string, number>;
  acked: number;
  p50Ms: number | null;
  p99Ms: number | null;
  rejected: number;
  shed: number;
  connections: Map<string, number>;
  ends: Map<string, number>;
  logBytes: number;
  filed: number | null;
};

export function compare(before: Reading, after: Reading): Figures {
  const seconds = Math.max(0.001, (after.atMs - before.atMs) / 1000);
  const perSecond = new Map<string, number>();
  for (const [transport, messages] of after.messages) {
    perSecond.set(transport, (messages - (before.messages.get(transport) ?? 0)) / seconds);
  }
  const ms = (share: number) => {
    const value = quantile(before.acks, after.acks, share);
    return value === null ? null : value * 1000;
  };
  const { acked, rejected, shed, connections, ends, logBytes, filed } = after;
  const [p50Ms, p99Ms] = [ms(0.5), ms(0.99)];
  const log = { ends, logBytes, filed };
  return { perSecond, acked, p50Ms, p99Ms, rejected, shed, connections, ...log };
}

const titles: Record<string, string> = { mqtt: "MQTT", ws: "WebSocket", http: "HTTP" };

/** The block a terminal shows, a line each. */
export function block(figures: Figures, seconds: number): string[] {
  const rates = [...figures.perSecond.values()].reduce((all, rate) => all + rate, 0);
  const positions = figures.ends.get("positions") ?? 0;
  const cells = figures.ends.get("positions-by-cell");
  const byCell = cells === undefined ? "" : `, ${count(cells)} by cell`;
  const shed = figures.shed > 0 ? `   shed at QoS 0  ${count(figures.shed)}` : "";
  const rows: [string, string][] = [
    ["pings/s", `${count(Math.round(rates)).padEnd(9)} ${byTransport(figures.perSecond)}`],
    ["acked", `${count(figures.acked).padEnd(9)} after ${times(figures)}`],
    ["log", `${bytes(figures.logBytes).padEnd(9)} ${count(positions)} positions${byCell}`],
    ...filesRow(figures.filed),
    ["rejects", `${count(figures.rejected)}${shed}`],
    ["connected", byTransport(figures.connections)],
    ["running", clock(seconds)],
  ];
  return rows.map(([name, text]) => `  ${name.padEnd(11)}${text}`);
}

function filesRow(filed: number | null): [string, string][] {
  return filed === null ? [] : [["files", `${count(filed).padEnd(9)} positions in Parquet`]];
}

/** The same on one line, for logs. */
export function line(figures: Figures, seconds: number): string {
  const rates = [...figures.perSecond.values()].reduce((all, rate) => all + rate, 0);
  const connected = [...figures.connections.values()].reduce((all, n) => all + n, 0);
  return [
    clock(seconds),
    `${count(Math.round(rates))} pings/s`,
    `${count(figures.acked)} acked (${times(figures)})`,
    `log ${bytes(figures.logBytes)}`,
    `${count(figures.rejected)} rejects`,
    `${count(connected)} connected`,
  ].join("  ");
}

function times({ p50Ms, p99Ms }: Figures): string {
  if (p50Ms === null || p99Ms === null) return "-";
  return `p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`;
}

function byTransport(values: Map<string, number>): string {
  return Object.entries(titles)
    .filter(([transport]) => transport !== "http" || (values.get(transport) ?? 0) >= 0.5)
    .map(([transport, title]) => `${title} ${count(Math.round(values.get(transport) ?? 0))}`)
    .join("   ");
}

function clock(seconds: number): string {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** 1536 → `1.5 KiB`. */
export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; n >= 1024 && unit + 1 < units.length; unit++) n /= 1024;
  return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}
