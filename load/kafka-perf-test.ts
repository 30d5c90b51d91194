/** Java's own perf tools, as a data engineer would run them. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import type { Measure } from "./contender.ts";
import { javaWords } from "../test/harness/kafka-jars.ts";
import { withTopic } from "./kafka-topics.ts";
import { missing } from "./servers.ts";

const run = promisify(execFile);
const records = 1_500_000;

/** A producer with Java's defaults (idempotent, five requests in flight), then a consumer. */
export const perfTest: Measure = (server) =>
  withTopic(server, 16, async ({ name }) => {
    const lacking = missing("kafka");
    if (lacking !== null) throw new Error(`missing: ${lacking}`);
    const servers = `127.0.0.1:${server.kafka}`;
    const before = cpuSeconds(server.pid);
    const sent = await tool(
      `ProducerPerformance --topic ${name} --num-records ${records} --record-size 118` +
        ` --throughput -1 --producer-props bootstrap.servers=${servers} acks=all batch.size=16384`,
    );
    const between = cpuSeconds(server.pid);
    const read = await tool(
      `ConsumerPerformance --bootstrap-server ${servers} --topic ${name} --messages ${records}`,
    );
    const after = cpuSeconds(server.pid);
    // start, end, MB, MB/s, records, records/s, rebalance ms, fetch ms, fetch MB/s, fetch records/s
    const last = lastLine(read).split(", ").map(Number);
    return {
      figures: {
        "produced/s": Number(/, ([\d.]+) records\/sec/.exec(lastLine(sent))?.[1]),
        "µs/rec": ((between - before) / records) * 1e6,
        "consumed/s": last[9],
        "µs/rec read": ((after - between) / records) * 1e6,
      },
      faults: last[4] >= records ? [] : [`${records - last[4]} unread`],
      raw: { sent, read },
    };
  });

async function tool(line: string): Promise<string> {
  const [name, ...words] = line.split(" ");
  const { stdout } = await run("java", javaWords(`org.apache.kafka.tools.${name}`, words));
  return stdout;
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1) ?? "";
}

function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
