import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse, TomlError } from "smol-toml";
import { isLoopback } from "./address.ts";
import { nearest } from "./nearest.ts";
import type { ServeOptions } from "./options.ts";
import { environmentName, serveFields, serveOption } from "./options.ts";

/** What the user wrote cannot be used; the message names where it stands. Exit code 2. */
export class ConfigError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ConfigError";
  }
}

export type Given = {
  /** Flags as written on the command line; true for one that stands alone. */
  flags: Partial<Record<keyof ServeOptions, string | string[] | true>>;
  /** `--config`. */
  config?: string;
  env: NodeJS.ProcessEnv;
  cwd: string;
};

export type Loaded = {
  options: ServeOptions;
  /** The file that was read, null when there is none. */
  file: string | null;
};

/** Flags win over the environment over the file over the defaults. Throws a ConfigError. */
export function loadServeOptions(given: Given): Loaded {
  const file = findFile(given);
  const table = file === null ? {} : readTable(file);
  const options: Partial<Record<keyof ServeOptions, unknown>> = {};
  for (const field of serveFields) {
    const option = serveOption(field);
    const found = find(field, given, file, table);
    const value = found === null ? option.default : check(field, found);
    options[field] = option.path ? resolve(found?.dir ?? given.cwd, value as string) : value;
  }
  const complete = options as ServeOptions;
  refuseOpenPorts(complete);
  refuseMirroredAlone(complete);
  return { options: complete, file };
}

/** A line per address that is open to others, naming its ports; empty on loopback. */
export function openPorts(options: ServeOptions): string[] {
  const lines: string[] = [];
  const name = (port: number): string => (port === 0 ? "any free port" : `port ${port}`);
  if (!isLoopback(options.host)) {
    lines.push(
      `${options.host}: MQTT on ${name(options.mqttPort)}, ` +
        `WebSocket and HTTP ingest on ${name(options.devicePort)}`,
    );
  }
  if (!isLoopback(options.adminHost)) {
    lines.push(
      `${options.adminHost}: administration (topics, commands to devices, metrics) ` +
        `on ${name(options.adminPort)}`,
    );
  }
  return lines;
}

function refuseOpenPorts(options: ServeOptions): void {
  const open = openPorts(options);
  if (open.length === 0 || options.insecure) return;
  throw new ConfigError(
    "nobody has to log in here, so only this machine may connect. This would open to others\n" +
      `${open.map((line) => `  ${line}\n`).join("")}` +
      "Say --insecure if that is what you want, or leave the address at 127.0.0.1",
  );
}

function refuseMirroredAlone({ durability, uplink }: ServeOptions): void {
  if (durability !== "mirrored" || uplink !== null) return;
  throw new ConfigError(
    "--durability: mirrored needs an uplink, which this gateway does not have;\n" +
      "name the cluster with --uplink BROKERS, or say logged or flushed",
  );
}

/** A value as given, where it stands, and what a relative path in it is relative to. */
type Found = { value: unknown; where: string; dir: string };

function find(
  field: keyof ServeOptions,
  given: Given,
  file: string | null,
  table: Record<string, unknown>,
): Found | null {
  const { name, fromText } = serveOption(field);
  const flag = given.flags[field];
  if (flag !== undefined) {
    let value: unknown = flag;
    if (typeof flag === "string") value = fromText(flag);
    else if (Array.isArray(flag)) value = flag.flatMap((text) => fromText(text));
    return { value, where: `--${name}`, dir: given.cwd };
  }
  const variable = environmentName({ name });
  const text = given.env[variable];
  // an empty variable is an unset one, as `${X:-}` in compose files leaves behind
  if (text) return { value: fromText(text), where: variable, dir: given.cwd };
  if (file === null || !Object.hasOwn(table, name)) return null;
  return { value: table[name], where: `${file}: ${name}`, dir: dirname(file) };
}

function check(field: keyof ServeOptions, { value, where }: Found): unknown {
  const result = serveOption(field).schema.safeParse(value);
  if (result.success) return result.data;
  const shown = typeof value === "string" ? `"${value}"` : JSON.stringify(value);
  throw new ConfigError(`${where}: ${result.error.issues[0].message}, not ${shown}`);
}

function findFile(given: Given): string | null {
  const named = given.config ?? (given.env["MILEPOST_CONFIG"] || undefined);
  if (named !== undefined) return resolve(given.cwd, named);
  const usual = resolve(given.cwd, "milepost.toml");
  return existsSync(usual) ? usual : null;
}

function readTable(file: string): Record<string, unknown> {
  let table: Record<string, unknown>;
  try {
    table = parse(readFileSync(file, "utf8"));
  } catch (error) {
    if (error instanceof TomlError) throw new ConfigError(`${file}: ${error.message.trimEnd()}`);
    throw new ConfigError(`cannot read the configuration: ${(error as Error).message}`);
  }
  const names = serveFields.map((field) => serveOption(field).name);
  for (const key of Object.keys(table)) {
    if (names.includes(key)) continue;
    const near = nearest(key.replaceAll("_", "-"), names);
    const hint = near === null ? "" : `; did you mean ${near}?`;
    throw new ConfigError(`${file}: unknown key ${key}${hint}`);
  }
  return table;
}
