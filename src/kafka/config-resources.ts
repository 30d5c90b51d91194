/** What settings may be of: topics, and the node. */
import { E } from "../wire/errors.ts";
import type { Context } from "./handler.ts";
import { quoted, refusal, Refused, repeated } from "./refused.ts";
import { refuseReserved, topicValid } from "./topic-access.ts";

export const TOPIC = 2;
export const BROKER = 4;

export type Resource = { resourceType: number; resourceName: string };

/** Equal for what is the same. */
export const resourceKey = ({ resourceType, resourceName }: Resource): string =>
  `${resourceType} ${resourceName}`;

export function unsupportedType(resourceType: number): Refused {
  const text = `resource type ${resourceType}: there are settings of topics and of the node`;
  return new Refused(E.INVALID_REQUEST, text);
}

/** The node's id; null for the empty name, which stands for what all nodes are set to. */
export function brokerNamed(name: string, { services }: Context): number | null {
  if (name === "") return null;
  if (name === String(services.nodeId)) return services.nodeId;
  const text = `broker "${quoted(name)}": there is ${services.nodeId}, and "" for all`;
  throw new Refused(E.INVALID_REQUEST, text);
}

type Answer = Resource & { errorCode: number; errorMessage: string | null };

/** Alters one resource after the other; what is named twice is refused once. */
export async function alterResources<R extends Resource>(
  resources: R[],
  context: Context,
  alter: (topic: string, resource: R) => Promise<void>,
): Promise<Answer[]> {
  const twice = repeated(resources.map(resourceKey));
  const answers: Answer[] = [];
  const told = new Set<string>();
  for (const resource of resources) {
    const { resourceType, resourceName } = resource;
    const key = resourceKey(resource);
    if (told.has(key)) continue;
    told.add(key);
    try {
      if (twice.has(key)) throw new Refused(E.INVALID_REQUEST, "named twice in this request");
      await alter(alterable(resource, context), resource);
      answers.push({ errorCode: E.NONE, errorMessage: null, resourceType, resourceName });
    } catch (error) {
      answers.push({ ...refusal(error), resourceType, resourceName });
    }
  }
  return answers;
}

/** The topic; throws for anything else. */
function alterable({ resourceType, resourceName }: Resource, context: Context): string {
  if (resourceType === BROKER) {
    brokerNamed(resourceName, context);
    const text = "a node's settings are options of `milepost serve`: they change at its start";
    throw new Refused(E.INVALID_REQUEST, text);
  }
  if (resourceType !== TOPIC) throw unsupportedType(resourceType);
  topicValid(context, resourceName);
  refuseReserved(resourceName);
  return resourceName;
}
