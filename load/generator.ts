/** Runs the device generator once and reads its report. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { build } from "./build.ts";

/** What `devices --json` prints; see the head of `devices.c`. A message may hold several pings. */
export type Report = {
  devices: number;
  pings: number;
  seconds: number;
  connectS: number;
  sent: number;
  acked: number;
  unacked: number;
  closed: number;
  nacks: number;
  rejected: number;
  disorder: number;
  sentPerS: number;
  ackedPerS: number;
  pingsPerS: number;
  ackedEachS: number[];
  p50Ms: number;
  p99Ms: number;
  p999Ms: number;
  maxMs: number;
  generatorCpuS: number;
  serverCpuS: number;
  /** What other processes used meanwhile, and what the hypervisor withheld. */
  othersCpuS: number;
  serverUsPerMessage: number;
  serverRssBytes: [number, number];
};

export type Load = {
  to: "mqtt" | "ws" | "echo";
  port: number;
  pid: number;
  devices: number;
  seconds: number;
  warm?: number;
  rate?: number;
  window?: number;
  pings?: number;
  idle?: boolean;
};

const run = promisify(execFile);

export async function devices(load: Load): Promise<Report> {
  const built = build("devices");
  if ("missing" in built) throw new Error(`no generator, missing: ${built.missing}`);
  const words = ["--json", "--server-pid", `${load.pid}`];
  for (const name of ["to", "port", "devices", "seconds", "warm", "rate", "window", "pings"]) {
    const value = load[name as keyof Load];
    if (value !== undefined) words.push(`--${name}`, `${value}`);
  }
  if (load.idle) words.push("--idle");
  const { stdout } = await run(built.path, words);
  return JSON.parse(stdout);
}

/** What may not happen in a run whose figures count. */
export function faults(report: Report): string[] {
  const found: string[] = [];
  for (const name of ["unacked", "closed", "nacks", "rejected", "disorder"] as const) {
    if (report[name] > 0) found.push(`${report[name]} ${name}`);
  }
  return found;
}
