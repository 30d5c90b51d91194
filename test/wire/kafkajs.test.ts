/**
 * The tables against those of kafkajs, which were written independently: what it writes we read,
 * what we write it reads. Its names differ.
 */
import { createRequire } from "node:module";
import { describe, expect, test } from "vitest";
import { handlers } from "../../src/kafka/apis.ts";
import { readWhole } from "../../src/wire/api.ts";
import { Reader } from "../../src/wire/reader.ts";
import { Writer } from "../../src/wire/writer.ts";
import { expectHolds, type Names, renamed, sample, withoutRecords } from "./samples.ts";

type Request = (args: unknown) => { encode(): Promise<{ buffer: Buffer }> };
type Response = { decode(bytes: Buffer): Promise<unknown> };
type Difference = {
  /** Its last version, and the first that has record batches. */
  to: number;
  from?: number;
  request?: Names;
  response?: Names;
  /** Its arguments are not one object of all fields. */
  args?(value: Record<string, unknown>): unknown;
};

const require = createRequire(import.meta.url);

const THROTTLE = { throttleTimeMs: null };
const apis: Record<string, Difference> = {
  ApiVersions: { to: 2, response: { ...THROTTLE, apiKeys: "apiVersions" } },
  Metadata: {
    to: 6,
    args: ({ topics, ...rest }) => ({
      topics: (topics as { name: string }[]).map(({ name }) => name),
      ...rest,
    }),
    response: {
      ...THROTTLE,
      topics: "topicMetadata",
      "topics.errorCode": "topicErrorCode",
      "topics.name": "topic",
      "topics.partitions": "partitionMetadata",
      "topics.partitions.errorCode": "partitionErrorCode",
      "topics.partitions.partitionIndex": "partitionId",
      "topics.partitions.leaderId": "leader",
      "topics.partitions.replicaNodes": "replicas",
      "topics.partitions.isrNodes": "isr",
    },
  },
  Produce: {
    to: 7,
    from: 3,
    args: ({ acks, timeoutMs, transactionalId, topicData }) => ({
      acks,
      timeout: timeoutMs,
      transactionalId,
      topicData: (topicData as { name: string; partitionData: { index: number }[] }[]).map(
        ({ name, partitionData }) => ({
          topic: name,
          partitions: partitionData.map(({ index }) => ({
            partition: index,
            firstSequence: 0,
            messages: [{ key: null, value: null, timestamp: 1 }],
          })),
        }),
      ),
    }),
    response: {
      ...THROTTLE,
      responses: "topics",
      "responses.name": "topicName",
      "responses.partitionResponses": "partitions",
      "responses.partitionResponses.index": "partition",
      "responses.partitionResponses.logAppendTimeMs": "logAppendTime",
    },
  },
  Fetch: {
    to: 11,
    request: {
      maxWaitMs: "maxWaitTime",
      forgottenTopicsData: "forgottenTopics",
      "topics.partitions.partitionMaxBytes": "maxBytes",
    },
    response: {
      ...THROTTLE,
      "responses.topic": "topicName",
      "responses.partitions.partitionIndex": "partition",
      "responses.partitions.logStartOffset": "lastStartOffset",
      "responses.partitions.records": null,
    },
  },
  ListOffsets: {
    to: 3,
    request: {
      "topics.name": "topic",
      "topics.partitions.partitionIndex": "partition",
    },
    response: {
      ...THROTTLE,
      topics: "responses",
      "topics.name": "topic",
      "topics.partitions.partitionIndex": "partition",
    },
  },
  FindCoordinator: {
    to: 2,
    args: ({ key, keyType }) => ({ groupId: key, coordinatorKey: key, coordinatorType: keyType }),
    response: { ...THROTTLE, nodeId: null, host: null, port: null },
  },
  JoinGroup: {
    to: 5,
    request: {
      sessionTimeoutMs: "sessionTimeout",
      rebalanceTimeoutMs: "rebalanceTimeout",
      protocols: "groupProtocols",
    },
    response: {
      ...THROTTLE,
      protocolName: "groupProtocol",
      leader: "leaderId",
      "members.metadata": "memberMetadata",
    },
  },
  Heartbeat: { to: 3, request: { generationId: "groupGenerationId" }, response: THROTTLE },
  LeaveGroup: { to: 3, response: THROTTLE },
  SyncGroup: {
    to: 3,
    request: { assignments: "groupAssignment", "assignments.assignment": "memberAssignment" },
    response: { ...THROTTLE, assignment: "memberAssignment" },
  },
  OffsetCommit: {
    to: 5,
    request: {
      generationIdOrMemberEpoch: "groupGenerationId",
      retentionTimeMs: "retentionTime",
      "topics.name": "topic",
      "topics.partitions.partitionIndex": "partition",
      "topics.partitions.committedOffset": "offset",
      "topics.partitions.committedMetadata": "metadata",
    },
    response: {
      ...THROTTLE,
      topics: "responses",
      "topics.name": "topic",
      "topics.partitions.partitionIndex": "partition",
    },
  },
  OffsetFetch: {
    to: 4,
    args: ({ groupId, topics }) => ({
      groupId,
      topics: (topics as { name: string; partitionIndexes: number[] }[]).map((t) => ({
        topic: t.name,
        partitions: t.partitionIndexes.map((partition) => ({ partition })),
      })),
    }),
    response: {
      ...THROTTLE,
      topics: "responses",
      "topics.name": "topic",
      "topics.partitions.partitionIndex": "partition",
      "topics.partitions.committedOffset": "offset",
    },
  },
  InitProducerId: {
    to: 1,
    request: { transactionTimeoutMs: "transactionTimeout" },
    response: THROTTLE,
  },
  CreateTopics: {
    to: 3,
    request: {
      timeoutMs: "timeout",
      "topics.name": "topic",
      "topics.assignments": "replicaAssignment",
      "topics.assignments.partitionIndex": "partition",
      "topics.assignments.brokerIds": "replicas",
      "topics.configs": "configEntries",
    },
    response: { ...THROTTLE, topics: "topicErrors", "topics.name": "topic" },
  },
  DeleteTopics: {
    to: 1,
    request: { topicNames: "topics", timeoutMs: "timeout" },
    response: { ...THROTTLE, responses: "topicErrors", "responses.name": "topic" },
  },
  DeleteRecords: {
    to: 1,
    request: {
      timeoutMs: "timeout",
      "topics.name": "topic",
      "topics.partitions.partitionIndex": "partition",
    },
    response: {
      ...THROTTLE,
      "topics.name": "topic",
      "topics.partitions.partitionIndex": "partition",
    },
  },
  CreatePartitions: {
    to: 1,
    args: ({ topics, timeoutMs, validateOnly }) => ({
      topicPartitions: (
        topics as { name: string; count: number; assignments: { brokerIds: number[] }[] }[]
      ).map(({ name, count, assignments }) => ({
        topic: name,
        count,
        assignments: assignments.map(({ brokerIds }) => brokerIds),
      })),
      timeout: timeoutMs,
      validateOnly,
    }),
    response: { ...THROTTLE, results: "topicErrors", "results.name": "topic" },
  },
  DescribeConfigs: {
    to: 2,
    request: {
      "resources.resourceType": "type",
      "resources.resourceName": "name",
      "resources.configurationKeys": "configNames",
    },
    response: {
      ...THROTTLE,
      results: "resources",
      "results.configs": "configEntries",
      "results.configs.name": "configName",
      "results.configs.value": "configValue",
      "results.configs.synonyms": "configSynonyms",
      "results.configs.synonyms.name": "configName",
      "results.configs.synonyms.value": "configValue",
      "results.configs.synonyms.source": "configSource",
    },
  },
  AlterConfigs: {
    to: 1,
    request: {
      "resources.resourceType": "type",
      "resources.resourceName": "name",
      "resources.configs": "configEntries",
    },
    response: { ...THROTTLE, responses: "resources" },
  },
  DescribeGroups: {
    to: 2,
    request: { groups: "groupIds" },
    response: {
      ...THROTTLE,
      "groups.groupState": "state",
      "groups.protocolData": "protocol",
    },
  },
  ListGroups: { to: 2, response: THROTTLE },
  DeleteGroups: { to: 1, args: ({ groupsNames }) => groupsNames, response: THROTTLE },
};

const messages = [...handlers.values()].flatMap(({ api }) => {
  const from = Math.max(api.versions.from, apis[api.name]?.from ?? 0);
  const to = Math.min(api.versions.to, apis[api.name]?.to ?? -1);
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => ({
    title: `${api.name} ${from + i}`,
    api,
    version: from + i,
    ...apis[api.name],
  }));
});

const part = (m: { api: { name: string }; version: number }, file: string) => {
  const folder = `${m.api.name[0].toLowerCase()}${m.api.name.slice(1)}`;
  return require(`kafkajs/src/protocol/requests/${folder}/v${m.version}/${file}`) as unknown;
};

describe.each(messages)("$title", (m) => {
  const { api, version } = m;

  test("its requests", async () => {
    const value = sample(api.requestFields, version);
    const args =
      m.args?.(value) ?? renamed(api.requestFields, version, value, m.request ?? {}, String);
    const { buffer } = await (part(m, "request") as Request)(args).encode();
    const read = readWhole(api.request(version), new Reader(buffer));
    expect(withoutRecords(read)).toEqual(value);
    const w = new Writer();
    api.request(version).write(w, read);
    expect(w.bytes.toString("hex")).toBe(buffer.toString("hex"));
  });

  test("our responses", async () => {
    const value = sample(api.responseFields, version);
    const w = new Writer();
    api.response(version).write(w, value);
    const made = part(m, "response") as Response | ((asked: object) => Response);
    const { decode } = typeof made === "function" ? made({ topics: [] }) : made;
    const read = await decode(w.bytes);
    expectHolds(read, renamed(api.responseFields, version, value, m.response ?? {}, String));
  });
});
