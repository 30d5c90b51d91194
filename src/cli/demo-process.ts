import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const launcher = fileURLToPath(new URL("../../bin/milepost", import.meta.url));
const stderrLinesKept = 20;

/** Another `milepost` command that runs beside this one. */
export class Companion {
  readonly name: string;
  /** Its exit code; null when a signal ended it. */
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #stdout: string[] = [];
  readonly #stderr: string[] = [];
  #onLine: (line: string) => void = () => {};
  #running = true;
  #signal: NodeJS.Signals | null = null;

  /**
   * In a process group of its own: Ctrl-C reaches this process only, which then stops the others
   * in their order.
   */
  constructor(name: string, args: string[]) {
    this.name = name;
    this.#child = spawn(process.execPath, [launcher, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    createInterface({ input: this.#child.stdout! }).on("line", (line) => {
      this.#stdout.push(line);
      this.#onLine(line);
    });
    createInterface({ input: this.#child.stderr! }).on("line", (line) => {
      this.#stderr.push(line);
      if (this.#stderr.length > stderrLinesKept) this.#stderr.shift();
    });
    this.exited = new Promise((resolve, reject) => {
      this.#child.on("error", reject);
      this.#child.on("close", (code, signal) => {
        this.#running = false;
        this.#signal = signal;
        resolve(code);
      });
    });
  }

  get running(): boolean {
    return this.#running;
  }

  /** What it said last, for people; a line each, indented. */
  get lastWords(): string {
    return this.#stderr.map((line) => `\n  ${line}`).join("");
  }

  /** How it ended, and its last words. */
  get obituary(): string {
    const how = this.#signal === null ? "" : ` (${this.#signal})`;
    const words = this.lastWords;
    return `the ${this.name} ended unexpectedly${how}${words === "" ? "" : `:${words}`}`;
  }

  get output(): string {
    return this.#stdout.join("\n");
  }

  /** The rest of the first line of stdout that begins so; null when the process ended before. */
  lineAfter(beginning: string): Promise<string | null> {
    return new Promise((resolve) => {
      this.#onLine = (line) => {
        if (line.startsWith(beginning)) resolve(line.slice(beginning.length));
      };
      this.#stdout.forEach(this.#onLine);
      void this.exited.then(() => resolve(null));
    });
  }

  /** Asks it to stop and waits; after `patienceMs` it is killed. */
  async stop(patienceMs: number): Promise<number | null> {
    this.signal("SIGTERM");
    const timer = setTimeout(() => this.signal("SIGKILL"), patienceMs);
    const code = await this.exited;
    clearTimeout(timer);
    return code;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#running) this.#child.kill(signal);
  }
}
