import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { launcher } from "./run.ts";

export type Gateway = {
  child: ChildProcess;
  /** What `milepost ready` said. */
  ready: { mqtt: number; device: number; admin: number; pid: number } & Record<string, unknown>;
  stdout(): string;
  stderr(): string;
  /** Exit code and signal. */
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
};

/** `milepost serve` on free ports; rejects with stderr when it ends before it is ready. */
export function startGateway(dataDir: string, ...args: string[]): Promise<Gateway> {
  const ports = ["mqtt", "device", "admin"].flatMap((name) => [`--${name}-port`, "0"]);
  const all = [launcher, "serve", "--data-dir", dataDir, ...ports, ...args];
  const child = spawn(process.execPath, all, { stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += chunk));
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  return new Promise((resolve, reject) => {
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
      const match = /^milepost ready (\{.*\})\n/.exec(stdout);
      if (match === null) return;
      const ready = JSON.parse(match[1]);
      resolve({ child, ready, ended, stdout: () => stdout, stderr: () => stderr });
    });
    void ended.then(({ code }) => reject(new Error(`exit ${code}: ${stderr}`)));
  });
}

/** SIGTERM, then the end. */
export function stopGateway(gateway: Gateway): Gateway["ended"] {
  gateway.child.kill("SIGTERM");
  return gateway.ended;
}
