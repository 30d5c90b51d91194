/** A MariaDB of the test's own: a fresh directory, a free port, a small buffer pool. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { createConnection, type RowDataPacket } from "mysql2/promise";

/** Debian keeps `mariadbd` off a user's PATH. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };

const running = new Set<MariadbServer>();
process.on("exit", () => {
  for (const server of running) server.discard();
});

export class MariadbServer {
  readonly #dir: string;
  #process: ChildProcess | null = null;
  #ended: Promise<void> = Promise.resolve();
  port = 0;

  constructor() {
    this.#dir = mkdtempSync(join(tmpdir(), "milepost-mariadb-"));
  }

  urlOf(database: string, user = "root", password = "secret"): string {
    return `mysql://${user}:${password}@127.0.0.1:${this.port}/${database}`;
  }

  async start(): Promise<this> {
    running.add(this);
    if (this.port === 0) await this.#prepare();
    const settings = [
      "--no-defaults",
      `--datadir=${join(this.#dir, "data")}`,
      `--socket=${join(this.#dir, "socket")}`,
      `--port=${this.port}`,
      `--user=${userInfo().username}`,
      "--bind-address=127.0.0.1",
      "--innodb-buffer-pool-size=64M",
      "--innodb-log-file-size=32M",
      // a crash of the process, not of the machine, is what is tested
      "--innodb-flush-log-at-trx-commit=2",
    ];
    const child = spawn("mariadbd", settings, { cwd: this.#dir, env, stdio: "ignore" });
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
    const words = ["--no-defaults", `--datadir=${join(this.#dir, "data")}`, "--skip-test-db"];
    const more = ["--auth-root-authentication-method=normal", `--user=${userInfo().username}`];
    execFileSync("mariadb-install-db", [...words, ...more], { cwd: this.#dir, stdio: "ignore" });
    const free = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => free.once("listening", resolve));
    this.port = (free.address() as { port: number }).port;
    await new Promise((resolve) => free.close(resolve));
    // a statement a line
    const input = "FLUSH PRIVILEGES;\nALTER USER root@localhost IDENTIFIED BY 'secret';\n";
    const boot = ["--no-defaults", `--datadir=${join(this.#dir, "data")}`, "--bootstrap"];
    const how = { cwd: this.#dir, env, input, stdio: "pipe" } as const;
    execFileSync("mariadbd", [...boot, `--user=${userInfo().username}`], how);
  }

  /** SIGTERM ends it in good order; SIGKILL is a crash. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    this.#process?.kill(signal);
    await this.#ended;
  }

  async query(sql: string, database = "mysql"): Promise<RowDataPacket[]> {
    const connection = await createConnection({ uri: this.urlOf(database) });
    connection.on("error", () => {});
    try {
      return (await connection.query<RowDataPacket[]>(sql))[0];
    } finally {
      await connection.end();
    }
  }

  /** A database of its own for one test. */
  async database(name: string): Promise<string> {
    await this.query(`CREATE DATABASE ${name}`);
    return this.urlOf(name);
  }

  discard(): void {
    running.delete(this);
    this.#process?.kill("SIGKILL");
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
