/** Runs the rider generator once and reads its report. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { build } from "./build.ts";

/** What `riders` prints; see the head of `riders.c`. */
export type RiderReport = {
  riders: number;
  seconds: number;
  connectS: number;
  publications: number;
  frames: number;
  answers: number;
  refused: number;
  closed: number;
  /** Publications or answers. */
  perS: number;
  MBPerS: number;
  p50Ms: number;
  p99Ms: number;
  p999Ms: number;
  maxMs: number;
  generatorCpuS: number;
  serverCpuS: number;
  othersCpuS: number;
  serverUsEach: number;
  serverRssBytes: [number, number];
};

export type RiderLoad = {
  port: number;
  pid: number;
  riders: number;
  seconds: number;
  warm?: number;
  channel?: string;
  modulo?: number;
  idle?: boolean;
  frozen?: number;
  get?: string;
};

/** `connected` is called when all riders follow what they asked for, before any is counted. */
export async function riders(load: RiderLoad, connected?: () => void): Promise<RiderReport> {
  const built = build("riders");
  if ("missing" in built) throw new Error(`no generator, missing: ${built.missing}`);
  const { pid, idle, ...rest } = load;
  const words = ["--server-pid", `${pid}`, ...(idle ? ["--idle"] : [])];
  for (const [name, value] of Object.entries(rest)) words.push(`--${name}`, `${value}`);
  const child = spawn(built.path, words, { stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let said = "";
  child.stdout.on("data", (bytes) => (out += String(bytes)));
  createInterface({ input: child.stderr }).on("line", (line) => {
    if (line === "riders: all connected") connected?.();
    else said += `${line}\n`;
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(`riders ended with ${String(code)}: ${said}`);
  return JSON.parse(out) as RiderReport;
}

/** What may not happen in a run whose figures count. */
export function riderFaults(report: RiderReport): string[] {
  const found: string[] = [];
  for (const name of ["refused", "closed"] as const) {
    if (report[name] > 0) found.push(`${report[name]} ${name}`);
  }
  return found;
}
