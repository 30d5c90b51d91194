import { City } from "./city.ts";
import type { CityName } from "./city.ts";
import { Device } from "./device.ts";
import { Drivers, type Fix } from "./drivers.ts";
import { Ledger } from "./ledger.ts";
import { MqttLink } from "./mqtt.ts";
import { Outbox } from "./outbox.ts";
import { opening, PingWriter } from "./ping.ts";
import { Gate } from "./redial.ts";
import { Tally } from "./tally.ts";
import { WebSocketLink } from "./websocket.ts";

export type Transport = "mqtt" | "ws" | "both";

export type FleetOptions = {
  drivers: number;
  /** Pings of a driver per second. */
  hz: number;
  /** `both`: every second driver by WebSocket. */
  transport: Transport;
  /** `mqtt://host:port` */
  mqtt: string;
  /** `ws://host:port`, with `/v1/ingest` unless it names a path. */
  ws: string;
  qos: 0 | 1;
  /** Pings per message. */
  batch: number;
  /** How long to send; null: until the signal. */
  seconds: number | null;
  city: CityName;
  seed: number;
  /** Over MQTT, tell when a trip begins and ends: `{"type","driver","trip","ts","lat","lon"}`. */
  events?: boolean;
  /** File for a line per acknowledged ping. */
  ledger: string | null;
  /** Called about once a second while the fleet runs. */
  progress?: (progress: Progress) => void;
};

/** Figures in pings; `unacked` were sent and not answered when the fleet stopped. */
export type Report = {
  drivers: number;
  sent: number;
  acked: number;
  resent: number;
  rejected: number;
  unacked: number;
  ackMs: { p50: number; p99: number; max: number };
  seconds: number;
};

export type Progress = {
  seconds: number;
  drivers: number;
  connected: number;
  sent: number;
  acked: number;
  unacked: number;
  rejected: number;
  dropped: number;
  /** Since the call before. */
  sentPerSecond: number;
  p99Ms: number;
  trouble: string | null;
};

/** Connections being opened at once. */
const dialling = 200;
/** The clock starts when all are connected, or after so long. */
const gatherMsMax = 10_000;
/** How long to wait for answers after the last ping. */
const settleMsMax = 10_000;
/** How long connections may take to close in good order. */
const partMsMax = 1000;
/** Work in one go before sockets get their turn. */
const turnMsMax = 8;
/** Messages a driver keeps, and all of them together: a minute's outage fits at 10 000 drivers. */
const outboxMax = 4000;
const outboxesMax = 1_000_000;
/** After a stall the clock jumps rather than replay more than this. */
const behindMsMax = 30_000;

/**
 * Runs a fleet until its time is over or `signal` aborts, then waits for outstanding answers.
 * Sends in an open loop: ping k of N drivers is due at k / (N · hz) seconds, whatever became of
 * those before it, and its latency counts from that moment.
 */
export async function runFleet(options: FleetOptions, signal: AbortSignal): Promise<Report> {
  const ledger = options.ledger === null ? null : new Ledger(options.ledger);
  const tally = new Tally(ledger);
  const devices = makeDevices(options, tally);
  const crew = new Crew(options, devices, Date.now());
  const watch = new Watch(options, tally);
  for (const device of devices) device.link.start();
  const keeper = setInterval(() => {
    const now = performance.now();
    for (const device of devices) device.link.tick(now);
  }, 1000);
  const writer = ledger === null ? null : setInterval(() => ledger.flush(), 200);
  try {
    await gather(tally, watch, options.drivers, signal);
    const seconds = await drive(options, crew, watch, signal);
    await flush(devices);
    await settle(devices, tally, watch);
    return report(options, tally, seconds);
  } finally {
    clearInterval(keeper);
    if (writer !== null) clearInterval(writer);
    await part(devices, tally);
    ledger?.close();
  }
}

/** Drivers have the same names in each run of a seed; another seed is another fleet. */
export function driverName(options: { city: CityName; seed: number }, i: number): string {
  const fleet = options.seed === 1 ? options.city : `${options.city}${options.seed}`;
  return `${fleet}-${String(i + 1).padStart(5, "0")}`;
}

function makeDevices(options: FleetOptions, tally: Tally): Device[] {
  const gate = new Gate(dialling);
  const broker = new URL(options.mqtt);
  const host = broker.hostname.replace(/^\[|\]$/g, "");
  const port = Number(broker.port || 1883);
  const ingest = new URL(options.ws);
  if (ingest.pathname === "/") ingest.pathname = "/v1/ingest";
  const kept = Math.max(100, Math.min(outboxMax, Math.floor(outboxesMax / options.drivers)));
  return Array.from({ length: options.drivers }, (_, i) => {
    const outbox = new Outbox(driverName(options, i), kept);
    const byMqtt = options.transport === "both" ? i % 2 === 0 : options.transport === "mqtt";
    const link = byMqtt
      ? new MqttLink(outbox, tally, gate, { host, port, qos: options.qos })
      : new WebSocketLink(outbox, tally, gate, ingest.href);
    const first = 1 + (i % options.batch);
    return new Device(outbox, link, { tally, batch: options.batch, first, heldMax: kept });
  });
}

async function gather(
  tally: Tally,
  watch: Watch,
  drivers: number,
  signal: AbortSignal,
): Promise<void> {
  const began = performance.now();
  while (tally.connected < drivers && !signal.aborted) {
    if (performance.now() - began > gatherMsMax) return;
    watch.look();
    await pause(20);
  }
}

/** Sends until it is time to stop; resolves with the seconds it took. */
async function drive(
  options: FleetOptions,
  crew: Crew,
  watch: Watch,
  signal: AbortSignal,
): Promise<number> {
  const beganMs = performance.now();
  const wallMs = Date.now();
  const everyMs = 1000 / (options.drivers * options.hz);
  const endMs = options.seconds === null ? Infinity : options.seconds * 1000;
  let skippedMs = 0;
  for (let next = 0; !signal.aborted;) {
    const nowMs = performance.now() - beganMs - skippedMs;
    const due = Math.floor(Math.min(nowMs, endMs) / everyMs);
    const turnEndMs = performance.now() + turnMsMax;
    while (next < due && (next % 32 !== 0 || performance.now() < turnEndMs)) {
      const atMs = next * everyMs + skippedMs;
      crew.measure(next % options.drivers, wallMs + atMs, beganMs + atMs);
      next++;
    }
    watch.look();
    if (nowMs >= endMs && next >= due) break;
    if (next < due) {
      const behindMs = nowMs - next * everyMs;
      if (behindMs > behindMsMax) skippedMs += behindMs;
      await new Promise((resolve) => setImmediate(resolve));
    } else {
      await pause(2);
    }
  }
  return (performance.now() - beganMs) / 1000;
}

/** The drivers of a city and their phones. */
class Crew {
  readonly #drivers: Drivers;
  readonly #devices: Device[];
  readonly #openings: Uint8Array[];
  readonly #writer = new PingWriter();
  readonly #periodSeconds: number;
  readonly #trips: (string | null)[];
  readonly #tripStarted: Float64Array;
  readonly #events: boolean;

  constructor(options: FleetOptions, devices: Device[], startMs: number) {
    const { drivers: count, seed, city } = options;
    this.#drivers = new Drivers(new City(city), { count, seed, startMs });
    this.#devices = devices;
    this.#openings = devices.map((device) => opening(device.outbox.driver));
    this.#periodSeconds = 1 / options.hz;
    this.#trips = Array.from({ length: count }, () => null);
    this.#tripStarted = new Float64Array(count);
    this.#events = options.events ?? false;
  }

  /** One ping of a driver at a time of day, meant to be sent at `dueMs` of the process clock. */
  measure(i: number, wallMs: number, dueMs: number): void {
    const drivers = this.#drivers;
    const device = this.#devices[i];
    drivers.advance(i, this.#periodSeconds, wallMs);
    const fix = drivers.read(i, wallMs);
    const before = this.#trips[i];
    const trip = this.#trip(i);
    this.#writer.write(this.#openings[i], fix, trip, device.nextSeq());
    device.measured(this.#writer, fix.ts, !drivers.inTunnel(i), dueMs);
    if (!this.#events || trip === before) return;
    if (before !== null) this.#tell(device, "dropoff", before, fix, dueMs);
    if (trip !== null) this.#tell(device, "pickup", trip, fix, dueMs);
  }

  #tell(device: Device, type: string, trip: string, fix: Fix, dueMs: number): void {
    const { ts, lat, lon } = fix;
    const event = { type, driver: device.outbox.driver, trip, ts, lat, lon };
    device.event(Buffer.from(JSON.stringify(event)), dueMs);
  }

  #trip(i: number): string | null {
    const started = this.#drivers.tripStarted[i];
    if (started !== this.#tripStarted[i]) {
      this.#tripStarted[i] = started;
      const name = `${this.#devices[i].outbox.driver}-${started.toString(36)}`;
      this.#trips[i] = started === 0 ? null : name;
    }
    return this.#trips[i];
  }
}

/** Tells about progress once a second. */
class Watch {
  readonly #options: FleetOptions;
  readonly #tally: Tally;
  readonly #beganMs = performance.now();
  #lookedMs = this.#beganMs;
  #sent = 0;

  constructor(options: FleetOptions, tally: Tally) {
    this.#options = options;
    this.#tally = tally;
  }

  look(): void {
    const nowMs = performance.now();
    const sinceMs = nowMs - this.#lookedMs;
    if (sinceMs < 1000 || this.#options.progress === undefined) return;
    const { sent, acked, unacked, rejected, dropped, connected, trouble } = this.#tally;
    this.#options.progress({
      seconds: (nowMs - this.#beganMs) / 1000,
      drivers: this.#options.drivers,
      connected,
      sent,
      acked,
      unacked,
      rejected,
      dropped,
      sentPerSecond: ((sent - this.#sent) * 1000) / sinceMs,
      p99Ms: this.#tally.recentMs.percentileMs(0.99),
      trouble,
    });
    this.#lookedMs = nowMs;
    this.#sent = sent;
    this.#tally.recentMs.clear();
    this.#tally.trouble = null;
  }
}

/** Sends what is left in tunnels and half-filled messages: over a second, not at once. */
async function flush(devices: Device[]): Promise<void> {
  const share = Math.ceil(devices.length / 200);
  for (let k = 0; k < devices.length; k++) {
    devices[k].flush(performance.now());
    if ((k + 1) % share === 0) await pause(5);
  }
}

/** Waits for what was sent to be answered, and for what waits behind it. */
async function settle(devices: Device[], tally: Tally, watch: Watch): Promise<void> {
  const endMs = performance.now() + settleMsMax;
  const waiting = () => devices.some((device) => device.outbox.length > 0);
  while ((tally.unacked > 0 || waiting()) && performance.now() < endMs) {
    watch.look();
    await pause(10);
  }
}

async function part(devices: Device[], tally: Tally): Promise<void> {
  for (const device of devices) device.link.stop();
  const endMs = performance.now() + partMsMax;
  while (tally.connected > 0 && performance.now() < endMs) await pause(10);
  for (const device of devices) device.link.abort();
}

function report(options: FleetOptions, tally: Tally, seconds: number): Report {
  const { sent, acked, resent, rejected, unacked, ackMs } = tally;
  return {
    drivers: options.drivers,
    sent,
    acked,
    resent,
    rejected,
    unacked,
    ackMs: {
      p50: round(ackMs.percentileMs(0.5), 2),
      p99: round(ackMs.percentileMs(0.99), 2),
      max: round(ackMs.maxMs, 2),
    },
    seconds: round(seconds, 1),
  };
}

function round(value: number, decimals: number): number {
  return Number(value.toFixed(decimals));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
