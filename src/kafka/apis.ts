/** Every API that is served, by key. What is not here is not advertised. */
import type { Handler } from "./handler.ts";
import { apiVersionsHandler } from "./handlers/18-api-versions.ts";
import { produceHandler } from "./handlers/00-produce.ts";
import { fetchHandler } from "./handlers/01-fetch.ts";
import { listOffsetsHandler } from "./handlers/02-list-offsets.ts";
import { metadataHandler } from "./handlers/03-metadata.ts";
import { offsetCommitHandler } from "./handlers/08-offset-commit.ts";
import { offsetFetchHandler } from "./handlers/09-offset-fetch.ts";
import { findCoordinatorHandler } from "./handlers/10-find-coordinator.ts";
import { joinGroupHandler } from "./handlers/11-join-group.ts";
import { heartbeatHandler } from "./handlers/12-heartbeat.ts";
import { leaveGroupHandler } from "./handlers/13-leave-group.ts";
import { syncGroupHandler } from "./handlers/14-sync-group.ts";
import { describeGroupsHandler } from "./handlers/15-describe-groups.ts";
import { listGroupsHandler } from "./handlers/16-list-groups.ts";
import { createTopicsHandler } from "./handlers/19-create-topics.ts";
import { deleteTopicsHandler } from "./handlers/20-delete-topics.ts";
import { deleteRecordsHandler } from "./handlers/21-delete-records.ts";
import { initProducerIdHandler } from "./handlers/22-init-producer-id.ts";
import { offsetForLeaderEpochHandler } from "./handlers/23-offset-for-leader-epoch.ts";
import { describeConfigsHandler } from "./handlers/32-describe-configs.ts";
import { alterConfigsHandler } from "./handlers/33-alter-configs.ts";
import { describeLogDirsHandler } from "./handlers/35-describe-log-dirs.ts";
import { createPartitionsHandler } from "./handlers/37-create-partitions.ts";
import { deleteGroupsHandler } from "./handlers/42-delete-groups.ts";
import { incrementalAlterConfigsHandler } from "./handlers/44-incremental-alter-configs.ts";
import { offsetDeleteHandler } from "./handlers/47-offset-delete.ts";
import { describeClusterHandler } from "./handlers/60-describe-cluster.ts";
import { describeProducersHandler } from "./handlers/61-describe-producers.ts";

const list: Handler[] = [
  produceHandler,
  fetchHandler,
  listOffsetsHandler,
  metadataHandler,
  offsetCommitHandler,
  offsetFetchHandler,
  findCoordinatorHandler,
  joinGroupHandler,
  heartbeatHandler,
  leaveGroupHandler,
  syncGroupHandler,
  describeGroupsHandler,
  listGroupsHandler,
  createTopicsHandler,
  deleteTopicsHandler,
  deleteRecordsHandler,
  initProducerIdHandler,
  offsetForLeaderEpochHandler,
  describeConfigsHandler,
  alterConfigsHandler,
  describeLogDirsHandler,
  createPartitionsHandler,
  deleteGroupsHandler,
  incrementalAlterConfigsHandler,
  offsetDeleteHandler,
  describeClusterHandler,
  describeProducersHandler,
];

export const handlers: ReadonlyMap<number, Handler> = new Map(
  [...list, apiVersionsHandler(list)].map((handler) => [handler.api.key, handler]),
);
