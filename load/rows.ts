/** The rows of the table. Targets: 2 cores, the generator on the same machine, medians. */
import { type Contender, type Measure, fresh, kept, rates } from "./contender.ts";
import { devices, faults } from "./generator.ts";
import { kafkaRows } from "./rows-kafka.ts";
import { k6, restart, retention } from "./rows-alone.ts";
import { riderRows } from "./rows-riders.ts";
import { sinkRows } from "./rows-sinks.ts";
import { uplinkRows } from "./rows-uplink.ts";
import type { ServerName } from "./servers.ts";

/** A figure of `of`, or the median of its per-round ratios to another contender. */
export type Target = {
  of: string;
  figure: string;
  over?: string;
  atLeast?: number;
  atMost?: number;
};

export type Row = { name: string; title: string; contenders: Contender[]; targets: Target[] };

const brokers: ServerName[] = ["net", "milepost", "mosquitto", "aedes"];

/** Each device has one message unanswered: the server reads one message at a time. */
const mqttMany: Measure = async ({ mqtt, pid }, { seconds }) =>
  rates(await devices({ to: "mqtt", port: mqtt, pid, devices: 10_000, seconds }));

const mqttFew: Measure = async ({ mqtt, pid }, { seconds }) =>
  rates(await devices({ to: "mqtt", port: mqtt, pid, devices: 100, window: 256, seconds }));

/** The closed loop finds the maximum; half of it, in an open loop, shows the latency. */
const mqttHalf: Measure = async ({ mqtt, pid }, { seconds }) => {
  const load = { to: "mqtt" as const, port: mqtt, pid, devices: 10_000, seconds };
  const full = await devices(load);
  const half = await devices({ ...load, rate: Math.round(full.ackedPerS / 2) });
  return {
    figures: {
      "max/s": full.ackedPerS,
      "msg/s": half.ackedPerS,
      "p50 ms": half.p50Ms,
      "p99 ms": half.p99Ms,
      "p99.9 ms": half.p999Ms,
      "max ms": half.maxMs,
      "µs/msg": half.serverUsPerMessage,
    },
    faults: [...faults(full), ...faults(half)],
    raw: { full, half },
  };
};

function frames(sockets: number, pings: number, window: number): Measure {
  return async ({ device, pid }, { seconds }, name) => {
    const to = name === "uws" ? ("echo" as const) : ("ws" as const);
    return rates(
      await devices({ to, port: device, pid, devices: sockets, pings, window, seconds }),
    );
  };
}

const idleSockets = 15_000;
const idleConnections: Measure = async ({ mqtt, pid }, { seconds }) => {
  const load = { to: "mqtt" as const, port: mqtt, pid, warm: 0, idle: true };
  // What the first connections load and compile belongs to no connection.
  await devices({ ...load, devices: 500, seconds: 0.5 });
  const report = await devices({ ...load, devices: idleSockets, seconds: Math.max(3, seconds) });
  const [before, after] = report.serverRssBytes;
  const each = (after - before) / idleSockets / 1024;
  return {
    figures: { "KB each": each, "MB before": before / 2 ** 20, "MB with all": after / 2 ** 20 },
    faults: faults(report),
    raw: report,
  };
};

function each(names: ServerName[], sockets: number, measure: Measure): Contender[] {
  return names.map((name) => kept(name, sockets, measure));
}

export const rows: Row[] = [
  {
    name: "mqtt-10k",
    title: "MQTT QoS 1, 10 000 sockets, one message per read",
    contenders: each(brokers, 10_000, mqttMany),
    targets: [
      { of: "milepost", figure: "msg/s", over: "net", atLeast: 0.8 },
      { of: "milepost", figure: "msg/s", over: "mosquitto", atLeast: 1 },
      { of: "milepost", figure: "msg/s", over: "aedes", atLeast: 1.6 },
    ],
  },
  {
    name: "mqtt-100",
    title: "MQTT QoS 1, 100 sockets pipelined",
    contenders: each(brokers, 100, mqttFew),
    targets: [
      { of: "milepost", figure: "msg/s", atLeast: 600_000 },
      { of: "milepost", figure: "msg/s", over: "mosquitto", atLeast: 3 },
    ],
  },
  {
    name: "mqtt-half",
    title: "MQTT QoS 1, 10 000 sockets, open loop at half of the own maximum",
    contenders: each(["net", "milepost", "mosquitto"], 10_000, mqttHalf),
    targets: [
      { of: "milepost", figure: "p50 ms", atMost: 5 },
      { of: "milepost", figure: "p99 ms", atMost: 25 },
    ],
  },
  {
    name: "ws-10k",
    title: "WebSocket, 1 ping per frame, 10 000 sockets",
    contenders: each(["uws", "milepost"], 10_000, frames(10_000, 1, 1)),
    targets: [{ of: "milepost", figure: "msg/s", over: "uws", atLeast: 0.7 }],
  },
  {
    name: "ws-100",
    title: "WebSocket, 1 ping per frame, 100 sockets pipelined",
    contenders: each(["uws", "milepost"], 100, frames(100, 1, 64)),
    targets: [],
  },
  {
    name: "ws-20",
    title: "WebSocket, 20 pings per frame, 10 000 sockets",
    contenders: each(["uws", "milepost"], 10_000, frames(10_000, 20, 1)),
    targets: [{ of: "milepost", figure: "pings/s", atLeast: 300_000 }],
  },
  {
    name: "ws-20-100",
    title: "WebSocket, 20 pings per frame, 100 sockets pipelined",
    contenders: each(["uws", "milepost"], 100, frames(100, 20, 16)),
    targets: [{ of: "milepost", figure: "pings/s", atLeast: 300_000 }],
  },
  {
    name: "regions",
    title: "a ping into two topics (driver and cell), MQTT, 10 000 sockets",
    contenders: each(["milepost", "milepost --regions"], 10_000, mqttMany),
    targets: [{ of: "milepost --regions", figure: "µs/msg", over: "milepost", atMost: 1.3 }],
  },
  {
    name: "idle",
    title: "15 000 idle MQTT connections, resident memory each",
    contenders: brokers.map((name) => fresh(name, idleSockets, idleConnections)),
    targets: [{ of: "milepost", figure: "KB each", atMost: 8 }],
  },
  ...kafkaRows,
  ...riderRows,
  ...sinkRows,
  ...uplinkRows,
  k6,
  restart,
  retention,
];
