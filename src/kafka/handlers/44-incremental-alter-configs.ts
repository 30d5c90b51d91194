/**
 * Changes settings of topics one by one. Each change is made in the log thread from what stands
 * there, so that those of two clients both hold.
 */
import type { ConfigChange, SettingChange } from "../../model/topic-config.ts";
import type { RequestOf } from "../../wire/api.ts";
import { incrementalAlterConfigs } from "../../wire/apis/alter-configs.ts";
import { E } from "../../wire/errors.ts";
import { alterResources } from "../config-resources.ts";
import { serve } from "../handler.ts";
import { quoted, Refused, repeated } from "../refused.ts";

type Resource = RequestOf<typeof incrementalAlterConfigs>["resources"][number];
type Change = Resource["configs"][number];

const SET = 0;
const DELETE = 1;
const APPEND = 2;
const SUBTRACT = 3;

export const incrementalAlterConfigsHandler = serve(
  incrementalAlterConfigs,
  async (request, context) => {
    const { log } = context.services;
    const { resources, validateOnly } = request;
    const responses = await alterResources(resources, context, async (topic, resource) => {
      await log.call("alterTopic", topic, changesOf(resource), { validateOnly });
    });
    return { throttleTimeMs: 0, responses };
  },
);

function changesOf({ configs }: Resource): ConfigChange {
  const [twice] = repeated(configs.map(({ name }) => name));
  if (twice !== undefined) throw invalid(twice, "changed twice in this request");
  return Object.fromEntries(configs.map((change) => [change.name, changeOf(change)]));
}

function changeOf({ name, configOperation, value }: Change): SettingChange {
  if (configOperation === DELETE) return null;
  if (configOperation < SET || configOperation > SUBTRACT) {
    throw invalid(name, `there is no operation ${configOperation}`);
  }
  if (value === null) throw invalid(name, "no value");
  if (configOperation === SET) return value;
  return configOperation === APPEND ? { append: value } : { subtract: value };
}

const invalid = (name: string, text: string): Refused =>
  new Refused(E.INVALID_REQUEST, `${quoted(name)}: ${text}`);
