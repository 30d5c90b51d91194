/** Settings as Kafka's requests give them: with source, type, synonyms and a line of text. */
import { type SettingType, topicSettings } from "../model/topic-settings.ts";
import type { TopicConfig } from "../model/topic-config.ts";
import type { ResponseOf } from "../wire/api.ts";
import type { describeConfigs } from "../wire/apis/describe-configs.ts";

export type ConfigEntry = ResponseOf<typeof describeConfigs>["results"][number]["configs"][number];
type Synonym = ConfigEntry["synonyms"][number];

/** Where a value comes from. */
const SET_ON_TOPIC = 1;
export const SET_ON_NODE = 4;
export const BY_DEFAULT = 5;

const typeCodes: Record<SettingType, number> = {
  boolean: 1,
  string: 2,
  int: 3,
  long: 5,
  double: 6,
  list: 7,
};

/** Of a topic: `own` is what was set on it, `defaults` what the node was told for all. */
export function topicEntries(own: TopicConfig, defaults: TopicConfig): ConfigEntry[] {
  return Object.entries(topicSettings).map(([name, setting]) => {
    const synonyms: Synonym[] = [];
    if (Object.hasOwn(own, name)) synonyms.push({ name, value: own[name], source: SET_ON_TOPIC });
    // what a node was told to do as it would anyway is no override of all of its topics
    if (Object.hasOwn(defaults, name) && defaults[name] !== setting.default) {
      synonyms.push({ name, value: defaults[name], source: SET_ON_NODE });
    }
    const unset = { name: setting.broker ?? name, value: setting.default, source: BY_DEFAULT };
    synonyms.push(unset);
    const { type, about } = setting;
    return configEntry({ name, type, about, readOnly: false }, synonyms);
  });
}

/** Its value is that of the first synonym. */
export function configEntry(
  key: { name: string; type: SettingType; about: string; readOnly: boolean },
  synonyms: Synonym[],
): ConfigEntry {
  const { value, source } = synonyms[0];
  return {
    name: key.name,
    value,
    readOnly: key.readOnly,
    isDefault: source === BY_DEFAULT,
    configSource: source,
    isSensitive: false,
    synonyms,
    configType: typeCodes[key.type],
    documentation: key.about,
  };
}
