/**
 * `milepost sink kafka` into Apache Kafka 4.1 on this machine: rows a second, CPU a row, memory. A
 * city's drivers, a ping a second each. Kafka is the tests' own, set to start quickly.
 *
 *     node load/mirror-bench.ts [--rows 2000000] [--drivers 2000] [--rounds 3] [--out FILE]
 *
 * Wanted: Java and Maven (`apt-get install default-jre-headless maven`).
 */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { ListOffsetTimestamps } from "@platformatic/kafka";
import { startGateway } from "../test/harness/gateway.ts";
import { KafkaCluster } from "../test/harness/kafka-cluster.ts";
import { machine } from "./machine.ts";
import { cpuMs, peakMB, produceCity } from "./sink-rows.ts";
import { median } from "./table.ts";

const { values: options } = parseArgs({
  options: {
    rows: { type: "string", default: "2000000" },
    drivers: { type: "string", default: "2000" },
    rounds: { type: "string", default: "3" },
    out: { type: "string" },
  },
});
const rows = Number(options.rows);
const launcher = new URL("../bin/milepost", import.meta.url).pathname;
const topic = "positions";

type Run = {
  rowsPerSecond: number;
  cpuMicros: number;
  gatewayMicros: number;
  kafkaMicros: number;
  memoryMB: number;
};

const gateway = await startGateway({ args: ["--live", "off"] });
const broker = `127.0.0.1:${gateway.ports.kafka}`;
try {
  await produceCity(broker, rows, Number(options.drivers));
  const runs: Run[] = [];
  for (let round = 0; round < Number(options.rounds); round++) {
    runs.push(await mirror(`sink-kafka-${round}`));
    process.stderr.write(`${JSON.stringify(runs.at(-1))}\n`);
  }
  const of = (figure: keyof Run) => Number(median(runs.map((run) => run[figure])).toFixed(2));
  const result = {
    date: new Date().toISOString(),
    row: "sink-kafka",
    title: "rows of a city's pings from the log into Apache Kafka 4.1, one worker, one node",
    machine: machine(tmpdir()),
    rows,
    figures: {
      "sink rows/s": of("rowsPerSecond"),
      "sink worker us/row": of("cpuMicros"),
      "gateway us/row": of("gatewayMicros"),
      "Kafka us/row": of("kafkaMicros"),
      "sink worker peak MB": of("memoryMB"),
    },
    rounds: runs,
  };
  process.stdout.write(`${JSON.stringify(result, null, 1)}\n`);
  if (options.out !== undefined) writeFileSync(options.out, `${JSON.stringify(result, null, 1)}\n`);
} finally {
  await gateway.stop();
}

/** Into a cluster of its own: what is there would be gone on from. */
async function mirror(group: string): Promise<Run> {
  const cluster = await KafkaCluster.start(1, ["log.retention.check.interval.ms=3600000"]);
  try {
    const words = ["sink", "kafka", "--server", broker, "--brokers", cluster.bootstrap];
    const child = spawn(process.execPath, [launcher, ...words, "--group", group], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (bytes) => (stderr += String(bytes)));
    const ended = new Promise((resolve) => child.on("exit", resolve));
    while (!/ has \d+ partitions/.test(stderr)) await sleep(5);
    const pid = child.pid as number;
    const base = await mirrored(cluster);
    const began = performance.now();
    const pids = [pid, gateway.pid, ...cluster.pids];
    const before = pids.map(cpuMs);
    while ((await mirrored(cluster)) < rows) await sleep(50);
    const seconds = (performance.now() - began) / 1000;
    const done = rows - base;
    const micros = pids.map((one, i) => ((cpuMs(one) - before[i]) * 1000) / done);
    const memoryMB = peakMB(pid);
    child.kill("SIGTERM");
    await ended;
    return {
      rowsPerSecond: done / seconds,
      cpuMicros: micros[0],
      gatewayMicros: micros[1],
      kafkaMicros: micros[2],
      memoryMB,
    };
  } finally {
    await cluster.stop();
  }
}

async function mirrored(cluster: KafkaCluster): Promise<number> {
  return cluster.admin(async (admin) => {
    const found = (await admin.metadata({ topics: [topic] })).topics.get(topic);
    const partitions = (found?.partitions ?? []).map((_, partitionIndex) => {
      return { partitionIndex, timestamp: ListOffsetTimestamps.LATEST };
    });
    const [offsets] = await admin.listOffsets({ topics: [{ name: topic, partitions }] });
    return offsets.partitions.reduce((sum, { offset }) => sum + Number(offset), 0);
  });
}
