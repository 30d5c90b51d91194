/** Runs the Kafka generator once and reads its report. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { build } from "./build.ts";

export type Latency = {
  count: number;
  p50Ms: number;
  p99Ms: number;
  p999Ms: number;
  maxMs: number;
};

/** What `kafka` prints; see the head of `kafka.c`. */
export type KafkaReport = {
  recordsEach: number;
  seconds: number;
  sent: number;
  acked: number;
  consumed: number;
  errors: number;
  gaps: number;
  rejoins: number;
  /** Records between the consumers' positions and the high watermarks when they stopped. */
  lag: number;
  /** Open loop: acknowledged, and not read. */
  unread: number;
  producedPerS: number;
  consumedPerS: number;
  consumedMBPerS: number;
  /** From the send to the answer. */
  ack: Latency;
  /** From the intended send to the arrival at a consumer. */
  read: Latency;
  generatorCpuS: number;
  serverCpuS: number;
  othersCpuS: number;
  serverUsPerRecord: number;
  serverRssBytes: [number, number];
};

export type KafkaLoad = {
  port: number;
  topic: string;
  partitions: number;
  pid?: number;
  seconds?: number;
  warm?: number;
  producers?: number;
  window?: number;
  records?: number;
  perRequest?: number;
  rate?: number;
  fill?: number;
  idempotent?: boolean;
  consumers?: number;
  groups?: number;
  from?: "start" | "end";
  again?: boolean;
  frozen?: number;
};

const run = promisify(execFile);

/** `perRequest: 4` is `--per-request 4`; `true` is the bare option. */
function words({ pid, ...load }: KafkaLoad): string[] {
  const named = Object.entries({ ...load, "server-pid": pid }).filter(([, value]) => value);
  return named.flatMap(([name, value]) => {
    const option = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    return value === true ? [option] : [option, `${value}`];
  });
}

export async function kafkaLoad(load: KafkaLoad): Promise<KafkaReport> {
  const built = build("kafka");
  if ("missing" in built) throw new Error(`no generator, missing: ${built.missing}`);
  const { stdout } = await run(built.path, words(load));
  return JSON.parse(stdout);
}

/** What may not happen in a run whose figures count. */
export function kafkaFaults(report: KafkaReport): string[] {
  const found: string[] = [];
  for (const name of ["errors", "gaps", "rejoins", "unread"] as const) {
    if (report[name] > 0) found.push(`${report[name]} ${name}`);
  }
  if (report.acked < report.sent) found.push(`${report.sent - report.acked} unacked`);
  return found;
}
