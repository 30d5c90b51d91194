/**
 * The tables against those of @platformatic/kafka, which were written independently: what it writes
 * we read, what we write it reads. Its arguments are the fields in their order, in all versions the
 * same, but for a few APIs.
 */
import * as platformatic from "@platformatic/kafka";
import { describe, expect, test } from "vitest";
import { handlers } from "../../src/kafka/apis.ts";
import { readWhole } from "../../src/wire/api.ts";
import { Reader } from "../../src/wire/reader.ts";
import { type Fields, ZERO_UUID } from "../../src/wire/schema.ts";
import { Writer } from "../../src/wire/writer.ts";
import { expectHolds, type Names, renamed, sample, withoutRecords } from "./samples.ts";

type Client = {
  createRequest(...args: unknown[]): { buffer: Buffer };
  parseResponse(id: number, key: number, version: number, reader: unknown): unknown;
};
type Difference = {
  request?: Names;
  response?: Names;
  /** Fields that it does not ask for, with what it writes. */
  fixed?: (version: number) => Record<string, unknown>;
  args?: (fields: Record<string, unknown>, version: number) => unknown[];
};

const clients = platformatic as unknown as Record<string, Client | undefined>;
const clientOf = (name: string, version: number): Client | undefined =>
  clients[`${name[0].toLowerCase()}${name.slice(1)}V${version}`];

const differences: Record<string, Difference> = {
  Produce: {
    fixed: () => ({ transactionalId: null }),
    args: ({ acks, timeoutMs, topicData }) => [acks, timeoutMs, messagesOf(topicData as Topic[])],
  },
  Fetch: {
    request: { replicaId: null, "topics.topic": "topicId" },
    response: { "responses.topic": "topicId", "responses.partitions.records": null },
    fixed: () => ({ replicaId: -1, logStartOffset: -1 }),
    args: (given) => {
      const { topics, forgottenTopicsData, rackId, ...limits } = given;
      const { maxWaitMs, minBytes, maxBytes, isolationLevel, sessionId, sessionEpoch } = limits;
      const session = [sessionId, sessionEpoch, topics, forgottenTopicsData, rackId];
      return [maxWaitMs, minBytes, maxBytes, isolationLevel, ...session];
    },
  },
  ListGroups: {
    fixed: (version) => (version < 5 ? {} : { typesFilter: ["classic", "consumer"] }),
  },
  OffsetForLeaderEpoch: {
    request: { "topics.topic": "name", "topics.partitions.partition": "partitionIndex" },
  },
  OffsetCommit: {
    fixed: () => ({ retentionTimeMs: -1 }),
    args: ({ groupId, generationIdOrMemberEpoch, memberId, groupInstanceId, topics }) => [
      groupId,
      generationIdOrMemberEpoch,
      memberId,
      groupInstanceId,
      topics,
    ],
  },
  OffsetFetch: {
    args: ({ groupId, topics, groups, requireStable }, version) => [
      version < 8 ? [{ groupId, topics }] : groups,
      requireStable,
    ],
  },
  LeaveGroup: {
    args: ({ groupId, memberId, members }, version) => [
      groupId,
      version < 3 ? [{ memberId }] : members,
    ],
  },
  FindCoordinator: {
    args: ({ key, keyType, coordinatorKeys }, version) => [
      keyType,
      version < 4 ? [key] : coordinatorKeys,
    ],
    response: { errorCode: null, errorMessage: null, nodeId: null, host: null, port: null },
  },
  Metadata: {
    fixed: (version) => (version < 12 ? { topicId: ZERO_UUID } : {}),
    args: ({ topics, allowAutoTopicCreation, ...included }) => [
      topics,
      allowAutoTopicCreation,
      included["includeTopicAuthorizedOperations"],
      included["includeClusterAuthorizedOperations"],
    ],
  },
  CreateTopics: { response: { "topics.topicConfigErrorCode": null } },
  DeleteTopics: {
    args: ({ topics, topicNames, timeoutMs }, version) => [
      version < 6 ? (topicNames as string[]).map((name) => ({ name })) : topics,
      timeoutMs,
    ],
  },
  DescribeConfigs: { response: { "results.configs.isDefault": null } },
  DescribeLogDirs: { request: { "topics.topic": "name" } },
};

type Topic = { name: string; partitionData: { index: number }[] };

const messagesOf = (topics: Topic[]): unknown[] =>
  topics.flatMap(({ name, partitionData }) =>
    partitionData.map(({ index }) => ({ topic: name, partition: index, key: null, value: null })),
  );

const messages = [...handlers.values()].flatMap(({ api }) => {
  const { from, to } = api.versions;
  return Array.from({ length: to - from + 1 }, (_, i) => ({
    title: `${api.name} ${from + i}`,
    api,
    version: from + i,
  }));
});

function inOrder(fields: Fields, names: Names, theirs: Record<string, unknown>): unknown[] {
  const asked = Object.entries(fields).filter(([, { tag }]) => tag === null);
  return asked.map(([name]) => theirs[names[name] ?? name]);
}

/** It throws where there is an error's text, and hands over what it read. */
function parsed(parse: () => unknown): unknown {
  try {
    return parse();
  } catch (error) {
    if (error instanceof platformatic.ResponseError) return error.response;
    throw error;
  }
}

/** Fields of these names hold what the client writes for them. */
function fix(value: unknown, fixed: Record<string, unknown>): void {
  if (Array.isArray(value)) for (const item of value) fix(item, fixed);
  else if (value !== null && typeof value === "object" && !(value instanceof Uint8Array)) {
    for (const [name, inner] of Object.entries(value)) {
      if (name in fixed) (value as Record<string, unknown>)[name] = fixed[name];
      else fix(inner, fixed);
    }
  }
}

describe.each(messages)("$title", ({ api, version }) => {
  const client = clientOf(api.name, version);
  const { request = {}, response = {}, fixed, args: argsOf } = differences[api.name] ?? {};

  test.skipIf(client === undefined)("its requests", () => {
    const value = sample(api.requestFields, version);
    fix(value, fixed?.(version) ?? {});
    const theirs = renamed(api.requestFields, version, value, request, BigInt);
    const args = argsOf?.(theirs, version) ?? inOrder(api.requestFields, request, theirs);
    const bytes = Buffer.from((client as Client).createRequest(...args).buffer);
    const read = readWhole(api.request(version), new Reader(bytes));
    expect(withoutRecords(read)).toEqual(value);
    const w = new Writer();
    api.request(version).write(w, read);
    expect(w.bytes.toString("hex")).toBe(bytes.toString("hex"));
  });

  test.skipIf(client === undefined)("our responses", () => {
    const value = sample(api.responseFields, version);
    const w = new Writer();
    api.response(version).write(w, value);
    const reader = platformatic.Reader.from(Buffer.from(w.bytes));
    const read = parsed(() => (client as Client).parseResponse(1, api.key, version, reader));
    expectHolds(read, renamed(api.responseFields, version, value, response, BigInt));
  });
});
