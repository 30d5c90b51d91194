/** A topic's counterpart in the target: made where it is missing, and fit to keep partitions. */
import { Admin, type BaseOptions } from "@platformatic/kafka";
import { configOf, type MirrorCluster } from "./mirror-cluster.ts";
import { SinkFailure } from "./target.ts";

export type MirrorTopic = {
  /** Of one batch; the target takes no more. */
  bytesMax: number;
  /** The source keeps every record until all before it are gone. */
  dense: boolean;
};

/** What the counterpart is made with. */
const settings = ["cleanup.policy", "retention.ms", "retention.bytes", "max.message.bytes"];
/** Kafka's default, where the target does not say. */
const bytesMaxDefault = 1_048_588;

/** One worker makes a topic, and the others find it. */
export async function mirrorTopics(
  cluster: MirrorCluster,
  source: BaseOptions,
  names: string[],
  say: (line: string) => void,
): Promise<Map<string, MirrorTopic>> {
  const admin = new Admin(source);
  try {
    const { topics } = await admin.metadata({ topics: names });
    const found = new Map<string, MirrorTopic>();
    for (const name of names) {
      const wanted = topics.get(name)?.partitionsCount;
      if (wanted === undefined) throw new SinkFailure(`topic ${name} is gone`);
      const config = await configOf(admin, name, settings);
      await matchPartitions(cluster, name, wanted, config, say);
      const bytesMax = Number(await cluster.config(name, "max.message.bytes")) || bytesMaxDefault;
      const dense = config.get("cleanup.policy") === "delete";
      found.set(name, { bytesMax, dense });
    }
    return found;
  } finally {
    await admin.close();
  }
}

async function matchPartitions(
  cluster: MirrorCluster,
  name: string,
  wanted: number,
  config: Map<string, string>,
  say: (line: string) => void,
): Promise<void> {
  const there = await cluster.partitions(name);
  if (there === null) {
    await cluster.create(name, wanted, config);
    say(`made topic ${name} with ${wanted} partitions in the target`);
    return;
  }
  if (there < wanted) {
    throw new SinkFailure(
      `topic ${name} has ${wanted} partitions here and ${there} in the target, and partition ` +
        `numbers are kept: kafka-topics --alter --topic ${name} --partitions ${wanted} there`,
    );
  }
  if (there > wanted) {
    say(`topic ${name} has ${there} partitions in the target: ${wanted} of them are written`);
  }
}
