/** A PostgreSQL of the test's own: a fresh directory, a free port, and not as root. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Client, type QueryResultRow } from "pg";

const lib = "/usr/lib/postgresql";
const running = new Set<PostgresServer>();
process.on("exit", () => {
  for (const server of running) server.discard();
});

/** Where `initdb` is: Debian keeps it off PATH. */
function programs(): string {
  if (!existsSync(lib)) return "";
  const newest = readdirSync(lib).sort((a, b) => Number(b) - Number(a))[0];
  return `${join(lib, newest, "bin")}/`;
}

/** PostgreSQL refuses to run as root; the account its package made will do. */
function account(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string): number => Number(execFileSync("id", [flag, "postgres"]).toString());
  return { uid: id("-u"), gid: id("-g") };
}

export class PostgresServer {
  readonly #dir: string;
  readonly #account = account();
  #process: ChildProcess | null = null;
  #ended: Promise<void> = Promise.resolve();
  port = 0;

  constructor() {
    this.#dir = mkdtempSync(join(tmpdir(), "milepost-pg-"));
  }

  get url(): string {
    return this.urlOf("postgres");
  }

  urlOf(database: string, user = "postgres", password = "secret"): string {
    return `postgres://${user}:${password}@127.0.0.1:${this.port}/${database}`;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  async start(): Promise<this> {
    running.add(this);
    if (this.port === 0) await this.#prepare();
    const settings = [
      `port=${this.port}`,
      "listen_addresses=127.0.0.1",
      `unix_socket_directories=${this.#dir}`,
      "max_connections=50",
    ].flatMap((setting) => ["-c", setting]);
    const child = spawn(`${programs()}postgres`, ["-D", join(this.#dir, "data"), ...settings], {
      ...this.#account,
      cwd: this.#dir,
      stdio: "ignore",
    });
    this.#process = child;
    this.#ended = new Promise((resolve) => child.on("exit", () => resolve()));
    for (let i = 0; ; i++) {
      try {
        await this.query("SELECT 1");
        return this;
      } catch (error) {
        if (i === 300) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  async #prepare(): Promise<void> {
    const { uid, gid } = this.#account;
    if (uid !== undefined && gid !== undefined) chownSync(this.#dir, uid, gid);
    const password = join(this.#dir, "password");
    execFileSync("sh", ["-c", `echo secret > ${password}`], this.#account);
    const words = ["-D", join(this.#dir, "data"), "-U", "postgres", "-A", "scram-sha-256"];
    const more = ["--pwfile", password, "-N", "--locale=C.UTF-8", "-E", "UTF8"];
    const options = { ...this.#account, cwd: this.#dir, stdio: "ignore" } as const;
    execFileSync(`${programs()}initdb`, [...words, ...more], options);
    const free = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => free.once("listening", resolve));
    this.port = (free.address() as { port: number }).port;
    await new Promise((resolve) => free.close(resolve));
  }

  /** SIGINT ends sessions and writes what is to be written; SIGQUIT is a crash. */
  async stop(signal: "SIGINT" | "SIGQUIT" = "SIGINT"): Promise<void> {
    this.#process?.kill(signal);
    await this.#ended;
  }

  async query<Row extends QueryResultRow>(sql: string, values: unknown[] = [], database?: string) {
    const client = new Client({ connectionString: this.urlOf(database ?? "postgres") });
    client.on("error", () => {});
    await client.connect();
    try {
      return (await client.query<Row>(sql, values)).rows;
    } finally {
      await client.end();
    }
  }

  /** Makes a folder the server's, with one for tables in it. */
  own(folder: string): void {
    const { uid, gid } = this.#account;
    mkdirSync(join(folder, "tables"));
    if (uid === undefined || gid === undefined) return;
    // it also has to get there
    chmodSync(dirname(folder), 0o755);
    for (const path of [folder, join(folder, "tables")]) chownSync(path, uid, gid);
  }

  /** A database of its own for one test. */
  async database(name: string): Promise<string> {
    await this.query(`CREATE DATABASE ${name}`);
    return this.urlOf(name);
  }

  discard(): void {
    running.delete(this);
    this.#process?.kill("SIGQUIT");
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
