/** Settings of topics and of the node, every one with its value, default or not. */
import type { RequestOf, ResponseOf } from "../../wire/api.ts";
import { describeConfigs } from "../../wire/apis/describe-configs.ts";
import { E } from "../../wire/errors.ts";
import { nodeEntries } from "../broker-config.ts";
import { type ConfigEntry, topicEntries } from "../config-entries.ts";
import { BROKER, brokerNamed, resourceKey, TOPIC, unsupportedType } from "../config-resources.ts";
import { type Context, serve } from "../handler.ts";
import { refusal } from "../refused.ts";
import { topicValid } from "../topic-access.ts";

type Resource = RequestOf<typeof describeConfigs>["resources"][number];
type Answer = ResponseOf<typeof describeConfigs>["results"][number];

export const describeConfigsHandler = serve(describeConfigs, (request, context) => {
  const { resources, includeSynonyms, includeDocumentation } = request;
  const results = distinct(resources).map(({ resource, keys }): Answer => {
    const { resourceType, resourceName } = resource;
    const about = { errorCode: E.NONE, errorMessage: null, resourceType, resourceName };
    try {
      const configs = entriesOf(resource, context)
        .filter(({ name }) => keys === null || keys.has(name))
        .map((entry) => ({
          ...entry,
          synonyms: includeSynonyms ? entry.synonyms : [],
          documentation: includeDocumentation ? entry.documentation : null,
        }));
      return { ...about, configs };
    } catch (error) {
      return { ...about, ...refusal(error), configs: [] };
    }
  });
  return { throttleTimeMs: 0, results };
});

type Wanted = { resource: Resource; keys: Set<string> | null };

/** Each resource is answered once, with all keys that are asked of it; null: every one. */
function distinct(resources: Resource[]): Wanted[] {
  const wanted = new Map<string, Wanted>();
  for (const resource of resources) {
    const key = resourceKey(resource);
    let one = wanted.get(key);
    if (one === undefined) wanted.set(key, (one = { resource, keys: new Set() }));
    const asked = resource.configurationKeys ?? [];
    if (asked.length === 0) one.keys = null;
    for (const name of asked) one.keys?.add(name);
  }
  return [...wanted.values()];
}

function entriesOf(resource: Resource, context: Context): ConfigEntry[] {
  const { resourceType, resourceName } = resource;
  const { log } = context.services;
  if (resourceType === TOPIC) {
    const { config } = topicValid(context, resourceName);
    return topicEntries(config, log.node.defaults);
  }
  if (resourceType !== BROKER) throw unsupportedType(resourceType);
  return brokerNamed(resourceName, context) === null ? [] : nodeEntries(context);
}
