import { isIP } from "node:net";
import { availableParallelism } from "node:os";
import { z } from "zod";
import { parseDuration, parseSize } from "./quantities.ts";

/**
 * `logged` survives a crash of the process, `flushed` is on this disk, `mirrored` is in the
 * cluster behind the uplink with acks=all.
 */
export type Durability = "logged" | "flushed" | "mirrored";

export type ServeOptions = {
  /** Absolute. */
  dataDir: string;
  host: string;
  adminHost: string;
  /** null: the address the client connected to. */
  advertise: string | null;
  /** Ports: 0 = any free one. */
  mqttPort: number;
  devicePort: number;
  httpPort: number;
  kafkaPort: number;
  adminPort: number;
  workers: number;
  durability: Durability;
  /** Brokers `host:port` of the Kafka cluster that holds the topics; null: this node does. */
  uplink: string[] | null;
  regions: boolean;
  live: boolean;
  staleMs: number;
  /** Origins as a browser sends them, or `*`. */
  allowOrigin: string[];
  /** Bytes; null: min(1 GiB, 5 % of the file system), at least 16 MiB. */
  diskMin: number | null;
  insecure: boolean;
};

/**
 * One option in its three forms: flag `--mqtt-port`, environment `MILEPOST_MQTT_PORT`, key
 * `mqtt-port` in milepost.toml.
 */
export type ServeOption<T> = {
  name: string;
  /** What stands for the value in the help; brackets when the flag may stand alone. */
  value: string;
  help: string;
  default: T;
  /** The default in the help, where the value itself says little. */
  defaultText?: string;
  /** The value as a file holds it → what the program uses. */
  schema: z.ZodType<T>;
  /** The value of a flag or of the environment → as a file would hold it. */
  fromText: (text: string) => unknown;
  /** A relative path, resolved against the file that names it or the working directory. */
  path?: true;
  /** The flag may be repeated. */
  many?: true;
};

const diskMinLeast = 16 * 2 ** 20;

const asIs = (text: string): unknown => text;
const integer = (text: string): unknown => (/^\d{1,15}$/.test(text) ? Number(text) : text);
const toggle = (text: string): unknown => switches.get(text.toLowerCase()) ?? text;
const list = (text: string): unknown => text.split(",").map((item) => item.trim());

const switches = new Map([
  ["on", true],
  ["true", true],
  ["yes", true],
  ["1", true],
  ["off", false],
  ["false", false],
  ["no", false],
  ["0", false],
]);

const portText = "expected a port from 0 to 65535";
const port = z.int(portText).min(0, portText).max(65_535, portText);

const hostText = "expected an IP address or a host name";
/** IPv6 also in brackets, as it stands in URLs. */
const host = z
  .string(hostText)
  .transform((text) => text.replace(/^\[(.*:.*)\]$/, "$1"))
  .refine((text) => isIP(text) !== 0 || /^[a-z0-9_]([a-z0-9._-]*[a-z0-9])?$/i.test(text), hostText);

const onOff = z.union(
  [z.boolean(), z.string().transform((text, context) => toggled(text, context))],
  "expected on or off",
);

const brokersText = "expected brokers such as kafka-1:9092,kafka-2:9092";

const originText = "expected origins such as https://app.example.com, or *";

const serveTable: { [Field in keyof ServeOptions]: ServeOption<ServeOptions[Field]> } = {
  dataDir: {
    name: "data-dir",
    value: "DIR",
    help: "where the log lives; one process at a time",
    default: "./data",
    schema: z.string("expected a directory").min(1, "expected a directory"),
    fromText: asIs,
    path: true,
  },
  host: {
    name: "host",
    value: "ADDRESS",
    help: "address of the device ports; other than loopback only with --insecure",
    default: "127.0.0.1",
    schema: host,
    fromText: asIs,
  },
  adminHost: {
    name: "admin-host",
    value: "ADDRESS",
    help: "address of the admin port; other than loopback only with --insecure",
    default: "127.0.0.1",
    schema: host,
    fromText: asIs,
  },
  advertise: {
    name: "advertise",
    value: "HOST",
    help: "host that clients are told to connect to",
    default: null,
    defaultText: "the address the client connected to",
    schema: host,
    fromText: asIs,
  },
  mqttPort: {
    name: "mqtt-port",
    value: "PORT",
    help: "MQTT 3.1.1; 0 = any free port, here and below",
    default: 1883,
    schema: port,
    fromText: integer,
  },
  devicePort: {
    name: "device-port",
    value: "PORT",
    help: "WebSocket and HTTP ingest, MQTT over WebSocket",
    default: 8081,
    schema: port,
    fromText: integer,
  },
  httpPort: {
    name: "http-port",
    value: "PORT",
    help: "rider apps and the map",
    default: 8080,
    schema: port,
    fromText: integer,
  },
  kafkaPort: {
    name: "kafka-port",
    value: "PORT",
    help: "Kafka protocol",
    default: 9092,
    schema: port,
    fromText: integer,
  },
  adminPort: {
    name: "admin-port",
    value: "PORT",
    help: "metrics, health, topics, commands to devices",
    default: 9600,
    schema: port,
    fromText: integer,
  },
  workers: {
    name: "workers",
    value: "N",
    help: "ingest threads",
    default: Math.max(1, Math.floor(availableParallelism() / 2)),
    defaultText: "half the cores, at least 1",
    schema: z
      .int("expected a number of threads from 1 to 256")
      .min(1, "expected a number of threads from 1 to 256")
      .max(256, "expected a number of threads from 1 to 256"),
    fromText: integer,
  },
  durability: {
    name: "durability",
    value: "LEVEL",
    help:
      "what an acknowledgement means: logged (survives a crash of the process), " +
      "flushed (is on this disk) or, with --uplink, mirrored (is in that cluster)",
    default: "flushed",
    schema: z.string("expected logged, flushed or mirrored").transform(durabilityOfOneNode),
    fromText: asIs,
  },
  uplink: {
    name: "uplink",
    value: "BROKERS",
    help:
      "the Kafka cluster that holds the topics, as host:port,…; this node then buffers " +
      "in front of it and its own Kafka port is off",
    default: null,
    defaultText: "none",
    schema: z
      .union([z.string().transform(list), z.array(z.string())], brokersText)
      .transform((brokers, context) => (brokers as string[]).map((one) => broker(one, context))),
    fromText: list,
    many: true,
  },
  regions: {
    name: "regions",
    value: "[on|off]",
    help: "also write each ping to positions-by-cell, keyed by its H3 cell",
    default: false,
    defaultText: "off",
    schema: onOff,
    fromText: toggle,
  },
  live: {
    name: "live",
    value: "on|off",
    help: "live positions, for rider apps and the map",
    default: true,
    defaultText: "on",
    schema: onOff,
    fromText: toggle,
  },
  staleMs: {
    name: "stale",
    value: "DURATION",
    help: "when a silent driver counts as gone",
    default: 600_000,
    defaultText: "10m",
    schema: z.string("expected a duration such as 10m").transform((text, context) => {
      const ms = parseDuration(text);
      if (ms !== null && ms > 0) return ms;
      context.addIssue("expected a duration such as 10m");
      return z.NEVER;
    }),
    fromText: asIs,
  },
  allowOrigin: {
    name: "allow-origin",
    value: "ORIGIN",
    help: "web pages of this origin may follow drivers and send pings; may be repeated",
    default: [],
    defaultText: "none",
    schema: z
      .union([z.string().transform((one) => [one]), z.array(z.string())], originText)
      .transform((origins, context) => origins.map((text) => origin(text, context))),
    fromText: list,
    many: true,
  },
  diskMin: {
    name: "disk-min",
    value: "SIZE",
    help: "free disk space below which nothing new is written",
    default: null,
    defaultText: "the smaller of 1GiB and 5 % of the file system, at least 16MiB",
    schema: z
      .union([z.number(), z.string()], "expected a size such as 1GiB")
      .transform((size, context) => {
        const bytes = typeof size === "string" ? parseSize(size) : size;
        if (bytes !== null && Number.isSafeInteger(bytes) && bytes >= diskMinLeast) return bytes;
        context.addIssue("expected a size such as 1GiB, at least 16MiB");
        return z.NEVER;
      }),
    fromText: asIs,
  },
  insecure: {
    name: "insecure",
    value: "[on|off]",
    help: "allow addresses other than loopback, although nobody has to log in",
    default: false,
    defaultText: "off",
    schema: onOff,
    fromText: toggle,
  },
};

export const serveFields = Object.keys(serveTable) as (keyof ServeOptions)[];

/** Every option of `serve`, once. */
export function serveOption(field: keyof ServeOptions): ServeOption<unknown> {
  return serveTable[field];
}

export function environmentName(option: { name: string }): string {
  return `MILEPOST_${option.name.toUpperCase().replaceAll("-", "_")}`;
}

function toggled(text: string, context: z.RefinementCtx): boolean {
  const value = switches.get(text.toLowerCase());
  if (value !== undefined) return value;
  context.addIssue("expected on or off");
  return z.NEVER;
}

function durabilityOfOneNode(text: string, context: z.RefinementCtx): Durability {
  if (text === "logged" || text === "flushed" || text === "mirrored") return text;
  const reasons = new Map([
    ["replicated", "replicated needs a cluster, which this gateway is not part of"],
    ["replicated-flushed", "replicated-flushed needs a cluster, which this gateway is not part of"],
  ]);
  context.addIssue(
    `expected logged, flushed or mirrored${reasons.has(text) ? `: ${reasons.get(text)}` : ""}`,
  );
  return z.NEVER;
}

function broker(text: string, context: z.RefinementCtx): string {
  const [, name, port] = /^(.+):(\d{1,5})$/.exec(text.trim()) ?? [];
  const named = host.safeParse(name ?? "");
  if (named.success && Number(port) > 0 && Number(port) < 65_536) return `${name}:${port}`;
  context.addIssue(brokersText);
  return z.NEVER;
}

function origin(text: string, context: z.RefinementCtx): string {
  if (text === "*") return text;
  const url = URL.canParse(text) ? new URL(text) : null;
  const whole = url !== null && url.pathname === "/" && url.search === "" && url.hash === "";
  if (whole && url.origin !== "null" && url.username === "") return url.origin;
  context.addIssue(originText);
  return z.NEVER;
}
