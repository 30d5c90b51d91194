/**
 * Replaces the settings of topics: what a request does not name returns to its default, but for
 * `milepost.*`, of which a Kafka client knows nothing.
 */
import type { ConfigChange } from "../../model/topic-config.ts";
import type { RequestOf } from "../../wire/api.ts";
import { alterConfigs } from "../../wire/apis/alter-configs.ts";
import { E } from "../../wire/errors.ts";
import { alterResources } from "../config-resources.ts";
import { serve } from "../handler.ts";
import { quoted, Refused } from "../refused.ts";

type Resource = RequestOf<typeof alterConfigs>["resources"][number];

export const alterConfigsHandler = serve(alterConfigs, async (request, context) => {
  const { log } = context.services;
  const { resources, validateOnly } = request;
  const responses = await alterResources(resources, context, async (topic, resource) => {
    await log.call("alterTopic", topic, changesOf(resource), { replace: true, validateOnly });
  });
  return { throttleTimeMs: 0, responses };
});

function changesOf({ configs }: Resource): ConfigChange {
  const unset = configs.find(({ value }) => value === null);
  if (unset !== undefined) throw new Refused(E.INVALID_REQUEST, `${quoted(unset.name)}: no value`);
  return Object.fromEntries(configs.map(({ name, value }) => [name, value]));
}
