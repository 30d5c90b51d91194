import { spawn, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";

export const launcher = fileURLToPath(new URL("../../bin/milepost", import.meta.url));

export type Outcome = { code: number | null; stdout: string; stderr: string };
type Surroundings = {
  /** The launcher of `milepost` when left out. */
  script?: string;
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** Its stdin; null leaves that open, to be written to. */
  input?: string | null;
};

/** Runs one command as a user would and waits for its end. */
export function milepost(args: string[], surroundings: Surroundings = {}): Promise<Outcome> {
  return new RunningCommand(args, surroundings).outcome;
}

/** One command that may still run. */
export class RunningCommand {
  readonly child: ChildProcess;
  readonly outcome: Promise<Outcome>;
  stdout = "";
  stderr = "";

  constructor(args: string[], { script = launcher, env = {}, cwd, input }: Surroundings = {}) {
    this.child = spawn(process.execPath, [script, ...args], {
      cwd,
      env: { ...process.env, ...env },
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    this.child.stdout?.setEncoding("utf8").on("data", (chunk) => (this.stdout += chunk));
    this.child.stderr?.setEncoding("utf8").on("data", (chunk) => (this.stderr += chunk));
    // a command that ends before it has read all is no fault of the test
    this.child.stdin?.on("error", () => {});
    if (typeof input === "string") this.child.stdin?.end(input);
    this.outcome = new Promise((resolve, reject) => {
      this.child.on("error", reject);
      this.child.on("close", (code) => {
        resolve({ code, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  get lines(): string[] {
    const lines = this.stdout.split("\n");
    lines.pop();
    return lines;
  }

  /** Waits until it has printed that much; fails with what it said when it ends before. */
  async until(done: (lines: string[]) => boolean): Promise<void> {
    let ended = false;
    void this.outcome.then(() => (ended = true));
    while (!done(this.lines)) {
      if (ended) throw new Error(`it ended before: ${this.stderr}${this.stdout.slice(-500)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  end(signal: NodeJS.Signals): Promise<Outcome> {
    this.child.kill(signal);
    return this.outcome;
  }
}
