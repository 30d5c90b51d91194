/** A real gateway in a process of its own, on free ports, with a directory for the test. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** 0: not open. */
export type Ports = { mqtt: number; device: number; http: number; kafka: number; admin: number };
export type GatewayOptions = {
  /** More arguments of `serve`. */
  args?: string[];
  env?: Record<string, string>;
  /** An existing directory, kept afterwards; else a fresh one, removed on `stop`. */
  dataDir?: string;
  ports?: Ports;
};

const READY = /^milepost ready (\{.*\})$/m;
const launcher = new URL("../../bin/milepost", import.meta.url).pathname;
const running = new Set<ChildProcess>();
const made = new Set<string>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  for (const dir of made) rmSync(dir, { recursive: true, force: true });
});

export class Gateway {
  readonly dataDir: string;
  readonly #options: GatewayOptions;
  #child: ChildProcess | null = null;
  #ended: Promise<number | null> = Promise.resolve(0);
  #stderr = "";
  ports: Ports = { mqtt: 0, device: 0, http: 0, kafka: 0, admin: 0 };

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "milepost-test-"));
    if (options.dataDir === undefined) made.add(this.dataDir);
    this.ports = options.ports ?? this.ports;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  stderr(): string {
    return this.#stderr;
  }

  /** Resolves at the ready line; rejects with what it said on stderr when it ends before. */
  async start(): Promise<void> {
    const { mqtt, device, http, kafka, admin } = this.ports;
    const args = [
      "--data-dir",
      this.dataDir,
      "--http-port",
      `${http}`,
      "--kafka-port",
      `${kafka ?? 0}`,
    ];
    args.push("--mqtt-port", `${mqtt}`, "--device-port", `${device}`, "--admin-port", `${admin}`);
    const child = spawn(
      process.execPath,
      [launcher, "serve", ...args, ...(this.#options.args ?? [])],
      {
        env: { ...process.env, ...this.#options.env },
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    this.#child = child;
    running.add(child);
    this.#ended = new Promise((resolve) => {
      child.on("exit", (code) => {
        running.delete(child);
        resolve(code);
      });
    });
    child.stderr.on("data", (b) => (this.#stderr += String(b)));
    let stdout = "";
    this.ports = await new Promise<Ports>((resolve, reject) => {
      child.stdout.on("data", (b) => {
        stdout += String(b);
        const ready = READY.exec(stdout);
        if (ready === null) return;
        const open = JSON.parse(ready[1]) as { [name in keyof Ports]: number | null };
        resolve({ ...(open as Ports), http: open.http ?? 0, kafka: open.kafka ?? 0 });
      });
      void this.#ended.then((code) => {
        reject(new Error(`serve ended with ${code}: ${this.#stderr}`));
      });
    });
  }

  /** SIGTERM; resolves with the exit code. The directory goes unless it was given. */
  async stop(): Promise<number | null> {
    const code = await this.end("SIGTERM");
    if (this.#options.dataDir === undefined) {
      rmSync(this.dataDir, { recursive: true, force: true });
    }
    return code;
  }

  /** The exit code of one that ends by itself. */
  ended(): Promise<number | null> {
    return this.#ended;
  }

  kill(): Promise<number | null> {
    return this.end("SIGKILL");
  }

  end(signal: NodeJS.Signals): Promise<number | null> {
    this.#child?.kill(signal);
    return this.#ended;
  }

  async metrics(): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.ports.admin}/metrics`)).text();
  }

  /** Sum of the samples of a metric whose labels contain `labels`. */
  async metric(name: string, labels = ""): Promise<number> {
    let sum = 0;
    for (const line of (await this.metrics()).split("\n")) {
      if (!line.startsWith(name) || !line.includes(labels)) continue;
      if (line[name.length] === "{" || line[name.length] === " ")
        sum += Number(line.split(" ").at(-1));
    }
    return sum;
  }
}

export async function startGateway(options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = new Gateway(options);
  await gateway.start();
  return gateway;
}

export type Dumped = {
  topic: string;
  partition: number;
  offset: number;
  timestamp: number;
  key: string | null;
  value: string | null;
  headers: [string, string][];
  leaderEpoch: number;
};

/** Every record of a stopped gateway's topic, through `milepost dump --json`. */
export async function dump(dataDir: string, topic: string): Promise<Dumped[]> {
  const child = spawn(
    process.execPath,
    [launcher, "dump", topic, "--data-dir", dataDir, "--json"],
    {
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let out = "";
  let err = "";
  child.stdout.on("data", (b) => (out += String(b)));
  child.stderr.on("data", (b) => (err += String(b)));
  const code = await new Promise((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(`dump ended with ${code as number}: ${err}`);
  return out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Dumped);
}
