/** What the tests of administrative requests ask again and again. */
import type { RequestOf, ResponseOf } from "../../src/wire/api.ts";
import { createTopics } from "../../src/wire/apis/create-topics.ts";
import { describeConfigs } from "../../src/wire/apis/describe-configs.ts";
import { metadata } from "../../src/wire/apis/metadata.ts";
import { ZERO_UUID } from "../../src/wire/schema.ts";
import type { WireClient } from "./wire-client.ts";

type NewTopic = RequestOf<typeof createTopics>["topics"][number];
type Settings = Record<string, string | null>;
type Entry = ResponseOf<typeof describeConfigs>["results"][number]["configs"][number];

export const TOPIC = 2;
export const BROKER = 4;

export function newTopic(
  name: string,
  more: Partial<Omit<NewTopic, "configs">> & { configs?: Settings } = {},
): NewTopic {
  const configs = Object.entries(more.configs ?? {}).map(([key, value]) => ({ name: key, value }));
  return { name, numPartitions: -1, replicationFactor: -1, assignments: [], ...more, configs };
}

export async function create(
  client: WireClient,
  topics: NewTopic[],
  { version = 7, validateOnly = false } = {},
) {
  const request = { topics, timeoutMs: 1000, validateOnly };
  return (await client.request(createTopics, version, request)).topics;
}

export function metadataRequest(
  topics: (string | { id: string })[] | null,
  more: Partial<RequestOf<typeof metadata>> = {},
): RequestOf<typeof metadata> {
  return {
    topics:
      topics?.map((topic) =>
        typeof topic === "string"
          ? { name: topic, topicId: ZERO_UUID }
          : { name: null, topicId: topic.id },
      ) ?? null,
    allowAutoTopicCreation: false,
    includeClusterAuthorizedOperations: false,
    includeTopicAuthorizedOperations: false,
    ...more,
  };
}

/** Of one topic, without making it. */
export async function lookUp(client: WireClient, name: string) {
  return (await client.request(metadata, 12, metadataRequest([name]))).topics[0];
}

/** Settings of a topic or, for a number, of a node. */
export async function settingsOf(
  client: WireClient,
  resource: string | number,
  keys: string[] | null = null,
): Promise<Map<string, Entry>> {
  const { results } = await client.request(describeConfigs, 4, {
    resources: [
      {
        resourceType: typeof resource === "number" ? BROKER : TOPIC,
        resourceName: String(resource),
        configurationKeys: keys,
      },
    ],
    includeSynonyms: true,
    includeDocumentation: true,
  });
  return new Map(results[0].configs.map((entry) => [entry.name, entry]));
}

/** All that was set on a topic. */
export async function ownSettings(client: WireClient, topic: string) {
  const own: Record<string, string | null> = {};
  for (const [name, { value, configSource }] of await settingsOf(client, topic)) {
    if (configSource === 1) own[name] = value;
  }
  return own;
}
