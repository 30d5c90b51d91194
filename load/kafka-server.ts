/** Apache Kafka beside Milepost: one KRaft node on loopback. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { haveJars, javaWords } from "../test/harness/kafka-jars.ts";

/** Memory and collector as Kafka's own start script sets them. */
const jvm = ["-Xms1g", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"];

/** What Kafka needs to run here; null when it is there. */
export function missingKafka(): string | null {
  const runs = (program: string) => spawnSync(program, ["-version"]).status === 0;
  if (!runs("java")) return "Java (apt-get install default-jre-headless maven)";
  if (!haveJars() && !runs("mvn")) return "Maven (apt-get install maven)";
  return null;
}

export type KafkaProcess = { child: ChildProcess; dir: string };

/** One node, broker and controller; `settings` are added to its properties. */
export function spawnKafka(
  folder: string,
  port: number,
  controllerPort: number,
  settings: string[],
): KafkaProcess {
  mkdirSync(folder, { recursive: true });
  const dir = mkdtempSync(join(folder, "kafka-"));
  const properties = join(dir, "server.properties");
  const lines = [
    "process.roles=broker,controller",
    "node.id=1",
    `controller.quorum.voters=1@127.0.0.1:${controllerPort}`,
    `listeners=PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    "controller.listener.names=CONTROLLER",
    "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    `log.dirs=${join(dir, "logs")}`,
    "offsets.topic.replication.factor=1",
    "offsets.topic.num.partitions=16",
    "group.initial.rebalance.delay.ms=0",
    ...settings,
  ];
  writeFileSync(properties, `${lines.join("\n")}\n`);
  const clusterId = "MkU3OEVBNTcwNTJENDM2Qk";
  const format = javaWords("kafka.tools.StorageTool", [
    "format",
    "-t",
    clusterId,
    "-c",
    properties,
  ]);
  const formatted = spawnSync("java", format, { encoding: "utf8" });
  if (formatted.status !== 0) throw new Error(`kafka: ${formatted.stdout}${formatted.stderr}`);
  const child = spawn("java", javaWords("kafka.Kafka", [properties], jvm), {
    stdio: ["ignore", "ignore", "inherit"],
  });
  return { child, dir };
}
