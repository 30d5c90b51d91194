/**
 * The node's settings as those of a Kafka broker: what tools look for, under Kafka's names. They
 * are options of `milepost serve` or fixed, so no request changes them.
 */
import { isIPv6 } from "node:net";
import { limits } from "../model/limits.ts";
import { builtInTopics, partitionsByDefault } from "../model/topic-config.ts";
import { type SettingType, topicSettings } from "../model/topic-settings.ts";
import { BY_DEFAULT, type ConfigEntry, configEntry, SET_ON_NODE } from "./config-entries.ts";
import type { Context } from "./handler.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

type Row = [name: string, type: SettingType, value: string | number | boolean, about: string];

const retentionMs = Number(topicSettings["retention.ms"].default);
const offsetsTopic = builtInTopics.find(({ name }) => name === "__consumer_offsets");

const fixed: Row[] = [
  ["auto.create.topics.enable", "boolean", true, "A topic that is asked for is made."],
  ["connections.max.idle.ms", "long", limits.kafkaIdleMsMax, "Then a connection is closed."],
  ["default.replication.factor", "int", 1, "Copies of a partition."],
  ["delete.topic.enable", "boolean", true, "Topics can be deleted."],
  ["fetch.max.bytes", "int", limits.kafkaFetchBytesMax, "The largest answer to a fetch."],
  ["group.initial.rebalance.delay.ms", "int", limits.groupInitialDelayMs, "Wait for a group."],
  ["group.max.session.timeout.ms", "int", limits.groupSessionMsMax, "The longest of a member."],
  ["group.max.size", "int", limits.groupMembersMax, "Members of a group."],
  ["group.min.session.timeout.ms", "int", limits.groupSessionMsMin, "The shortest of a member."],
  // the newest that Kafka gave under this name; tools judge by it what they may ask
  ["inter.broker.protocol.version", "string", "3.9-IV0", "The level of Kafka's protocol."],
  ["log.retention.hours", "int", retentionMs / HOUR_MS, "As log.retention.ms."],
  ["log.retention.minutes", "int", retentionMs / MINUTE_MS, "As log.retention.ms."],
  ["max.connections", "int", limits.kafkaConnectionsMax, "Connections of Kafka clients."],
  ["num.partitions", "int", partitionsByDefault, "Of a topic where nobody says how many."],
  ["offset.metadata.max.bytes", "int", limits.offsetMetadataBytesMax, "Beside an offset."],
  [
    "offsets.retention.minutes",
    "int",
    limits.offsetRetentionMs / MINUTE_MS,
    "How long the offsets of a group without members stay.",
  ],
  [
    "offsets.topic.num.partitions",
    "int",
    offsetsTopic?.partitions ?? partitionsByDefault,
    "Of __consumer_offsets.",
  ],
  ["offsets.topic.replication.factor", "int", 1, "Of __consumer_offsets."],
  ["socket.request.max.bytes", "int", limits.kafkaRequestBytesMax, "The largest request."],
];

/** What topics have that do not set it. */
const ofTopics: Row[] = Object.values(topicSettings).flatMap((setting): Row[] =>
  setting.broker === null ? [] : [[setting.broker, setting.type, setting.default, setting.about]],
);

export function nodeEntries({ services, peer }: Context): ConfigEntry[] {
  const { host, port } = peer.advertised;
  const listener = `PLAINTEXT://${isIPv6(host) ? `[${host}]` : host}:${port}`;
  const own: Row[] = [
    ["advertised.listeners", "string", listener, "Where clients connect to."],
    ["broker.id", "int", services.nodeId, "This node."],
    ["listeners", "string", listener, "Where clients connect to."],
    ["log.dirs", "string", services.dataDir, "Where the log is."],
    ["node.id", "int", services.nodeId, "This node."],
  ];
  return [...entries(own, SET_ON_NODE), ...entries([...fixed, ...ofTopics], BY_DEFAULT)].sort(
    (a, b) => (a.name < b.name ? -1 : 1),
  );
}

function entries(rows: Row[], source: number): ConfigEntry[] {
  return rows.map(([name, type, value, about]) =>
    configEntry({ name, type, about, readOnly: true }, [{ name, value: String(value), source }]),
  );
}
