/** Every API that is served, by key. What is not here is not advertised. */
import type { Handler } from "./handler.ts";
import { apiVersionsHandler } from "./handlers/18-api-versions.ts";
import { fetchHandler } from "./handlers/01-fetch.ts";
import { metadataHandler } from "./handlers/03-metadata.ts";

const list: Handler[] = [fetchHandler, metadataHandler];

export const handlers: ReadonlyMap<number, Handler> = new Map(
  [...list, apiVersionsHandler(list)].map((handler) => [handler.api.key, handler]),
);
