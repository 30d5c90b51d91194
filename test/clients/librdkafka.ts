/** Builds `librdkafka.c` and speaks with its processes: each is one client of librdkafka. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { ClientRecord } from "./broker.ts";

const source = new URL("librdkafka.c", import.meta.url).pathname;
let program: string | null = null;

/** Built once per test file that asks. */
export function build(): string {
  if (program !== null) return program;
  const folder = mkdtempSync(join(tmpdir(), "milepost-librdkafka-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-std=gnu11"];
  execFileSync("gcc", [...flags, source, "-o", join(folder, "librdkafka"), "-lrdkafka"]);
  program = join(folder, "librdkafka");
  return program;
}

/** [topic, partition, offset, error] */
export type Place = [string, number, number, string | null];
/** Each command's own fields; `error` is librdkafka's name for it. */
export type Answer = { error: string | null } & Record<string, any>;
export type RebalanceEvent = {
  event: "assigned" | "revoked" | "lost";
  protocol: "EAGER" | "COOPERATIVE";
  generation: number;
  partitions: Place[];
};
export type Word = string | number | Buffer | null;

const open = new Set<Librdkafka>();

export class Librdkafka {
  readonly #child: ChildProcess;
  readonly #waiting: ((answer: Answer | Error) => void)[] = [];
  #stderr = "";
  readonly events: RebalanceEvent[] = [];
  /** Resolves with the exit code. */
  readonly ended: Promise<number | null>;

  constructor(
    kind: "producer" | "consumer",
    address: string,
    properties: Record<string, string | number | boolean> = {},
  ) {
    const settings = Object.entries(properties).map(([name, value]) => `${name}=${value}`);
    this.#child = spawn(build(), [kind, address, ...settings]);
    open.add(this);
    this.#child.stderr?.on("data", (b) => (this.#stderr += String(b)));
    this.#child.stdin?.on("error", () => {});
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream });
    lines.on("line", (line) => {
      const told = JSON.parse(line);
      if ("event" in told) this.events.push(told);
      else this.#waiting.shift()?.(told);
    });
    this.ended = new Promise((resolve) => {
      this.#child.on("close", (code) => {
        open.delete(this);
        for (const settle of this.#waiting.splice(0)) {
          settle(new Error(`librdkafka ended: ${this.#stderr}`));
        }
        resolve(code);
      });
    });
  }

  /** Text as it is, bytes in hexadecimal, null as "~". */
  ask(command: string, ...more: Word[]): Promise<Answer> {
    const words = more.map((word) => {
      if (word === null) return "~";
      return Buffer.isBuffer(word) ? word.toString("hex") : String(word);
    });
    return new Promise((resolve, reject) => {
      this.#waiting.push((told) => (told instanceof Error ? reject(told) : resolve(told)));
      this.#child.stdin?.write(`${[command, ...words].join("\t")}\n`);
    });
  }

  /** As `ask`, for what must succeed. */
  async must(command: string, ...more: Word[]): Promise<Answer> {
    const told = await this.ask(command, ...more);
    if (told.error != null) throw new Error(`${command}: ${told.error} ${this.#stderr}`);
    return told;
  }

  /** Up to `count` records, or what came until none did for `ms`. */
  async poll(count: number, ms = 5000): Promise<ClientRecord[]> {
    const { records } = (await this.must("poll", count, ms)) as unknown as { records: Told[] };
    return records.map((record) => ({
      ...record,
      key: fromHex(record.key),
      value: fromHex(record.value),
      headers: record.headers.map(([name, value]) => [name, fromHex(value)]),
    }));
  }

  stderr(): string {
    return this.#stderr;
  }

  /** Leaves its group and ends. */
  close(): Promise<number | null> {
    this.#child.stdin?.end();
    return this.ended;
  }

  end(signal: NodeJS.Signals): Promise<number | null> {
    this.#child.kill(signal);
    return this.ended;
  }
}

/** For `afterAll`. */
export async function closeAll(): Promise<void> {
  await Promise.all([...open].map((client) => client.end("SIGKILL")));
}

type Told = Omit<ClientRecord, "key" | "value" | "headers"> & {
  key: string | null;
  value: string | null;
  headers: [string, string | null][];
};

function fromHex(hex: string | null): Buffer | null {
  return hex === null ? null : Buffer.from(hex, "hex");
}
