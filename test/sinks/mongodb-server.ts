/**
 * A server that speaks MongoDB's protocol: the one that `MONGODB_URL` names, or a FerretDB 1.24 of
 * the test's own, which keeps its documents in SQLite. Debian has neither.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { type Db, MongoClient } from "mongodb";

export const howToAddMongo =
  "go install github.com/FerretDB/FerretDB/cmd/ferretdb@v1.24.0, or MONGODB_URL=mongodb://host";

const running = new Set<MongoServer>();
process.on("exit", () => {
  for (const server of running) server.discard();
});

function ferretdb(): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), join(homedir(), "go", "bin")];
  return folders.map((folder) => join(folder, "ferretdb")).find((path) => existsSync(path));
}

export function missingMongo(): boolean {
  return process.env.MONGODB_URL === undefined && ferretdb() === undefined;
}

export class MongoServer {
  readonly #dir = mkdtempSync(join(tmpdir(), "milepost-mongodb-"));
  readonly #given = process.env.MONGODB_URL;
  #process: ChildProcess | null = null;
  #ended: Promise<void> = Promise.resolve();
  #port = 0;
  client: MongoClient | null = null;

  /** Whether its logins are ours to know. */
  get isOurs(): boolean {
    return this.#given === undefined;
  }

  urlOf(database: string, login = "root:secret"): string {
    if (this.#given !== undefined) return `${this.#given.replace(/\/$/, "")}/${database}`;
    return `mongodb://${login}@127.0.0.1:${this.#port}/${database}?authSource=admin`;
  }

  async start(): Promise<this> {
    running.add(this);
    if (this.isOurs) await this.#spawn();
    this.client = new MongoClient(this.urlOf("admin"), { serverSelectionTimeoutMS: 20_000 });
    await this.client.connect();
    return this;
  }

  async #spawn(): Promise<void> {
    if (this.#port === 0) {
      const free = createServer().listen(0, "127.0.0.1");
      await new Promise((resolve) => free.once("listening", resolve));
      this.#port = (free.address() as { port: number }).port;
      await new Promise((resolve) => free.close(resolve));
    }
    const data = join(this.#dir, "data");
    mkdirSync(data, { recursive: true });
    const words = [
      "--handler=sqlite",
      `--sqlite-url=file:${data}/`,
      `--listen-addr=127.0.0.1:${this.#port}`,
      `--state-dir=${this.#dir}`,
      "--telemetry=disable",
      "--test-enable-new-auth",
      "--setup-database=admin",
      "--setup-username=root",
      "--setup-password=secret",
      "--debug-addr=-",
      "--log-level=error",
    ];
    const child = spawn(ferretdb() as string, words, { stdio: "ignore" });
    this.#process = child;
    this.#ended = new Promise((resolve) => child.on("exit", () => resolve()));
  }

  db(name: string): Db {
    return (this.client as MongoClient).db(name);
  }

  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    await this.client?.close(true);
    this.#process?.kill(signal);
    await this.#ended;
  }

  discard(): void {
    running.delete(this);
    this.#process?.kill("SIGKILL");
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
