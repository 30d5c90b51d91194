/** Starts and stops what the bench measures: Milepost, the floors, the peers. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { missingKafka, spawnKafka } from "./kafka-server.ts";

/** Ports are 0 where a server has none. */
export type Server = {
  pid: number;
  mqtt: number;
  device: number;
  http: number;
  kafka: number;
  admin: number;
  stop(): Promise<void>;
};
export type ServerName =
  | "milepost"
  | "milepost --regions"
  | "milepost live"
  | "net"
  | "uws"
  | "mosquitto"
  | "aedes"
  | "kafka"
  | "kafka flushed";

export type StartOptions = {
  /** Folder for data directories: on a real disk, or `flushed` means nothing. */
  dir: string;
  /** Further words for `milepost serve`. */
  serveArguments: string[];
  /** The gateway's data directory; a new one in `dir` when absent, removed at the stop. */
  dataDir?: string;
};

type Ready = {
  pid: number;
  mqtt: number;
  device: number;
  http: number | null;
  kafka: number;
  admin: number;
};

/** What a server that is no gateway has no ports for. */
const none = { mqtt: 0, device: 0, http: 0, kafka: 0, admin: 0 };

const startMsMax = 120_000;
const stopMsMax = 35_000;
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** What has to be installed before this server can be measured; null when nothing. */
export function missing(name: ServerName): string | null {
  if (name.startsWith("milepost") && !existsSync(here("../bin/milepost"))) return "bin/milepost";
  if (name === "mosquitto" && mosquittoPath() === null) {
    return "mosquitto (apt-get install mosquitto)";
  }
  return name.startsWith("kafka") ? missingKafka() : null;
}

export function start(name: ServerName, options: StartOptions): Promise<Server> {
  switch (name) {
    case "net":
      return startScript("floor-net.ts");
    case "uws":
      return startScript("floor-uws.ts");
    case "aedes":
      return startScript("peer-aedes.ts");
    case "mosquitto":
      return startMosquitto(options);
    case "milepost":
      return startMilepost(options, ["--live", "off"]);
    case "milepost --regions":
      return startMilepost(options, ["--live", "off", "--regions"]);
    case "milepost live":
      return startMilepost(options, []);
    case "kafka":
      return again(() => startKafka(options, []));
    case "kafka flushed":
      return again(() => startKafka(options, ["log.flush.interval.messages=1"]));
  }
}

async function startScript(name: string, words: string[] = []): Promise<Server> {
  const child = spawn(process.execPath, [here(name), ...words], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { port, pid } = await firstLine<{ port: number; pid: number }>(child, "", name);
  return { ...none, pid, mqtt: port, device: port, http: port, stop: () => stop(child, pid) };
}

/** Bare uWebSockets.js that publishes to `channels` channels, `rate` times a second in all. */
export function startPublisher(channels: number, rate: number): Promise<Server> {
  return startScript("floor-publish.ts", ["--channels", `${channels}`, "--rate", `${rate}`]);
}

async function startMilepost(options: StartOptions, more: string[]): Promise<Server> {
  mkdirSync(options.dir, { recursive: true });
  const dataDir = options.dataDir ?? mkdtempSync(join(options.dir, "milepost-"));
  const ports = ["mqtt", "device", "http", "kafka", "admin"].flatMap((n) => [`--${n}-port`, "0"]);
  const words = ["serve", "--data-dir", dataDir, "--durability", "flushed"];
  const child = spawn(
    process.execPath,
    [here("../bin/milepost"), ...words, ...ports, ...more, ...options.serveArguments],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const ready = await firstLine<Ready>(child, "milepost ready ", "milepost serve");
  const end = async () => {
    await stop(child, ready.pid);
    if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
  };
  return { ...ready, http: ready.http ?? 0, stop: end };
}

function mosquittoPath(): string | null {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"];
  return folders.map((f) => join(f, "mosquitto")).find((path) => existsSync(path)) ?? null;
}

export function mosquittoVersion(): string | null {
  const path = mosquittoPath();
  if (path === null) return null;
  const help = spawnSync(path, ["-h"], { encoding: "utf8" });
  return /version (\S+)/.exec(help.stdout)?.[1] ?? null;
}

async function startMosquitto(options: StartOptions): Promise<Server> {
  const port = await freePort();
  mkdirSync(options.dir, { recursive: true });
  const dir = mkdtempSync(join(options.dir, "mosquitto-"));
  const config = [
    `listener ${port} 127.0.0.1`,
    "allow_anonymous true",
    "persistence false",
    "set_tcp_nodelay true",
    "max_inflight_messages 0",
    "max_queued_messages 0",
    "sys_interval 0",
    "log_type error",
    ...(process.getuid?.() === 0 ? ["user root"] : []),
  ];
  writeFileSync(join(dir, "mosquitto.conf"), `${config.join("\n")}\n`);
  const path = mosquittoPath();
  if (path === null) throw new Error("mosquitto is not installed");
  const child = spawn(path, ["-c", join(dir, "mosquitto.conf")], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  await listening(port, child);
  const pid = child.pid ?? 0;
  const end = async () => {
    await stop(child, pid);
    rmSync(dir, { recursive: true, force: true });
  };
  return { ...none, pid, mqtt: port, stop: end };
}

/** Kafka 4.1 loses a race against itself at one start in some fifty on two busy cores. */
async function again(start: () => Promise<Server>): Promise<Server> {
  return await start().catch(start);
}

async function startKafka(options: StartOptions, settings: string[]): Promise<Server> {
  const port = await freePort();
  const { child, dir } = spawnKafka(options.dir, port, await freePort(), settings);
  const pid = child.pid ?? 0;
  try {
    await listening(port, child);
  } catch (error) {
    await stop(child, pid);
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
  const end = async () => {
    await stop(child, pid);
    rmSync(dir, { recursive: true, force: true });
  };
  return { ...none, pid, kafka: port, stop: end };
}

/** The JSON behind `prefix` on the first line of stdout that begins with it. */
async function firstLine<T>(child: ChildProcess, prefix: string, name: string): Promise<T> {
  if (child.stdout === null) throw new Error("stdout is not a pipe");
  const lines = createInterface({ input: child.stdout });
  return await new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`${name}: not up after ${startMsMax / 1000} s`));
    }, startMsMax);
    child.once("exit", (code, signal) => {
      clearTimeout(timer);
      reject(new Error(`${name}: ended with ${code ?? signal} before it was up`));
    });
    lines.on("line", (line) => {
      if (!line.startsWith(prefix)) return;
      clearTimeout(timer);
      resolve(JSON.parse(line.slice(prefix.length)));
    });
  });
}

/** SIGTERM to the server itself (a launcher may stand before it), SIGKILL where it must be. */
async function stop(child: ChildProcess, pid: number): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  signal(pid, "SIGTERM");
  const timer = setTimeout(() => {
    console.error(`bench: pid ${pid} did not stop within ${stopMsMax / 1000} s of SIGTERM`);
    signal(pid, "SIGKILL");
    child.kill("SIGKILL");
  }, stopMsMax);
  await exited;
  clearTimeout(timer);
}

/** The process may be gone already while its launcher is still there. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function listening(port: number, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + startMsMax;
  while (performance.now() < deadline && child.exitCode === null) {
    const socket = connect(port, "127.0.0.1");
    const open = await new Promise((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    await sleep(50);
  }
  throw new Error(`nothing listens on port ${port}`);
}

/** Waits until the processes rest: closing 10 000 sockets belongs to no measurement. */
export async function settled(pids: number[]): Promise<void> {
  const stepMs = 250;
  let before = cpuMs(pids);
  for (let tries = 0; tries < 40; tries++) {
    await sleep(stepMs);
    const after = cpuMs(pids);
    if (after - before <= stepMs * 0.08) return;
    before = after;
  }
}

function cpuMs(pids: number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks * 10;
}
