/** Every API that is served, by key. What is not here is not advertised. */
import type { Handler } from "./handler.ts";
import { apiVersionsHandler } from "./handlers/18-api-versions.ts";
import { produceHandler } from "./handlers/00-produce.ts";
import { fetchHandler } from "./handlers/01-fetch.ts";
import { metadataHandler } from "./handlers/03-metadata.ts";
import { createTopicsHandler } from "./handlers/19-create-topics.ts";
import { deleteTopicsHandler } from "./handlers/20-delete-topics.ts";
import { describeConfigsHandler } from "./handlers/32-describe-configs.ts";
import { alterConfigsHandler } from "./handlers/33-alter-configs.ts";
import { describeLogDirsHandler } from "./handlers/35-describe-log-dirs.ts";
import { createPartitionsHandler } from "./handlers/37-create-partitions.ts";
import { incrementalAlterConfigsHandler } from "./handlers/44-incremental-alter-configs.ts";
import { describeClusterHandler } from "./handlers/60-describe-cluster.ts";

const list: Handler[] = [
  produceHandler,
  fetchHandler,
  metadataHandler,
  createTopicsHandler,
  deleteTopicsHandler,
  describeConfigsHandler,
  alterConfigsHandler,
  describeLogDirsHandler,
  createPartitionsHandler,
  incrementalAlterConfigsHandler,
  describeClusterHandler,
];

export const handlers: ReadonlyMap<number, Handler> = new Map(
  [...list, apiVersionsHandler(list)].map((handler) => [handler.api.key, handler]),
);
