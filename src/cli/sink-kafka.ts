/** Runs a worker that mirrors topics into a Kafka cluster until it is told to stop. */
import { Mirror } from "../sinks/mirror.ts";
import { say, runSink, sinkClient } from "./sink-run.ts";
import type { KafkaFlags } from "./sink.ts";

export async function mirrorKafka(flags: KafkaFlags): Promise<void> {
  const source = sinkClient(flags);
  const target = { ...source, clientId: "milepost-mirror", bootstrapBrokers: flags.brokers };
  await runSink(flags, new Mirror({ source, target, say }));
}
