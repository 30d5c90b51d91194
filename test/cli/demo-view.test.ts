import { expect, test } from "vitest";
import { block, bytes, compare, line, read } from "../../src/cli/demo-view.ts";
import { parseMetrics } from "../../src/cli/scrape.ts";

function metrics(mqtt: number, ws: number): string {
  const acked = mqtt + ws;
  return `
milepost_ingest_messages_total{transport="mqtt",dialect="native"} ${mqtt}
milepost_ingest_messages_total{transport="ws",dialect="native"} ${ws}
milepost_connections{transport="mqtt"} 100
milepost_connections{transport="ws"} 99
milepost_ack_duration_seconds_bucket{transport="mqtt",le="0.001"} ${acked}
milepost_ack_duration_seconds_bucket{transport="mqtt",le="+Inf"} ${acked}
milepost_ack_duration_seconds_count{transport="mqtt"} ${acked}
milepost_ingest_rejected_total{transport="ws",reason="bad_time"} 2
milepost_log_end_offset{topic="positions",partition="0"} ${mqtt}
milepost_log_end_offset{topic="positions",partition="1"} ${ws}
milepost_log_end_offset{topic="positions-by-cell",partition="1"} ${acked}
milepost_consumer_group_lag{group="sink-parquet",topic="positions",partition="0"} 50
milepost_consumer_group_lag{group="fare",topic="positions",partition="0"} 7
milepost_log_size_bytes{topic="positions"} 1500000
milepost_log_size_bytes{topic="events"} 36000
`;
}

const before = read(parseMetrics(metrics(1000, 2000)), 10_000);
const after = read(parseMetrics(metrics(1500, 2250)), 15_000);

test("the view of two readings, five seconds apart", () => {
  expect(block(compare(before, after), 75.4)).toEqual([
    "  pings/s    150       MQTT 100   WebSocket 50",
    "  acked      3 750     after p50 0.5 ms, p99 1.0 ms",
    "  log        1.5 MiB   3 750 positions, 3 750 by cell",
    "  files      3 700     positions in Parquet",
    "  rejects    2",
    "  connected  MQTT 100   WebSocket 99",
    "  running    1:15",
  ]);
});

test("the same on a line", () => {
  expect(line(compare(before, after), 5)).toBe(
    "0:05  150 pings/s  3 750 acked (p50 0.5 ms, p99 1.0 ms)  log 1.5 MiB  " +
      "2 rejects  199 connected",
  );
});

test("a gateway to which nothing came has no latencies", () => {
  expect(block(compare(before, before), 0)[1]).toBe("  acked      3 000     after -");
});

test("bytes are told in units of 1024", () => {
  expect([0, 1023, 1536, 100 * 1024, 2 ** 40].map(bytes)).toEqual([
    "0 B",
    "1023 B",
    "1.5 KiB",
    "100 KiB",
    "1.0 TiB",
  ]);
});
