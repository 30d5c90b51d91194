import type { IncomingMessage } from "node:http";
import { limits } from "../model/limits.ts";
import { prometheusContentType } from "../metrics/prometheus.ts";
import { readiness } from "../lib/health.ts";
import type { AdminBackend } from "./backend.ts";
import { groupList, parseReset, refuseNoMoves } from "./groups.ts";
import { HttpError } from "./http-error.ts";
import { readBody, readJson } from "./request.ts";
import { parseNewTopic, parsePartition, parseTopicChange, topicList } from "./topics.ts";

/** `body` an object is sent as JSON, a string as text. */
export type Answer = { status: number; body?: object | string; type?: string };

export type Call = {
  backend: AdminBackend;
  request: IncomingMessage;
  query: URLSearchParams;
  /** The path segment that stands for `*` in the route. */
  name: string;
};

type Handler = (call: Call) => Answer | Promise<Answer>;

/** Room for a topic with every setting. */
const jsonBytesMax = 64 * 1024;

const routes: { path: string[]; methods: Record<string, Handler> }[] = [
  { path: ["livez"], methods: { GET: () => ({ status: 200, body: "ok\n" }) } },
  { path: ["readyz"], methods: { GET: getReadiness } },
  { path: ["metrics"], methods: { GET: getMetrics } },
  { path: ["v1", "admin", "topics"], methods: { GET: listTopics, POST: createTopic } },
  {
    path: ["v1", "admin", "topics", "*"],
    methods: { GET: describeTopic, PATCH: alterTopic, DELETE: deleteTopic },
  },
  { path: ["v1", "admin", "topics", "*", "skip-damage"], methods: { POST: skipDamage } },
  // a group's id may have any character, which a path may not: `?group=` takes them all
  {
    path: ["v1", "admin", "groups"],
    methods: { GET: listOrDescribe, DELETE: deleteGroup, POST: resetGroup },
  },
  {
    path: ["v1", "admin", "groups", "*"],
    methods: { GET: describeGroup, DELETE: deleteGroup },
  },
  { path: ["v1", "admin", "groups", "*", "reset"], methods: { POST: resetGroup } },
  { path: ["v1", "drivers", "*", "cmd"], methods: { POST: postCommand } },
];

/** The handler of a request, or an HttpError: 404, or 405 with what is allowed. */
export function findRoute(method: string, segments: string[]): { handler: Handler; name: string } {
  for (const { path, methods } of routes) {
    if (path.length !== segments.length) continue;
    if (!path.every((part, i) => part === "*" || part === segments[i])) continue;
    const known = Object.hasOwn(methods, method === "HEAD" ? "GET" : method);
    if (known) {
      const handler = methods[method === "HEAD" ? "GET" : method];
      return { handler, name: segments[path.indexOf("*")] ?? "" };
    }
    const allowed = Object.keys(methods);
    if (allowed.includes("GET")) allowed.push("HEAD");
    const allow = allowed.join(", ");
    throw new HttpError(405, "method_not_allowed", `allowed here: ${allow}`, { allow });
  }
  throw new HttpError(404, "not_found", "nothing here");
}

function getReadiness({ backend, query }: Call): Answer {
  const { status, text } = readiness(backend.checks(), query.has("verbose"));
  return { status, body: text };
}

async function getMetrics({ backend }: Call): Promise<Answer> {
  return { status: 200, body: await backend.metrics(), type: prometheusContentType };
}

function listTopics({ backend }: Call): Answer {
  return { status: 200, body: topicList(backend.topics()) };
}

async function createTopic({ backend, request }: Call): Promise<Answer> {
  const { topic, partitions, config } = parseNewTopic(await readJson(request, jsonBytesMax));
  await backend.createTopic(topic, partitions, config);
  return { status: 201, body: await backend.describe(topic) };
}

async function describeTopic({ backend, name }: Call): Promise<Answer> {
  return { status: 200, body: await backend.describe(name) };
}

async function alterTopic({ backend, request, name }: Call): Promise<Answer> {
  const change = parseTopicChange(await readJson(request, jsonBytesMax));
  await backend.alterTopic(name, change);
  return { status: 200, body: await backend.describe(name) };
}

/** The name once more in `confirm`, so that no slip of a path deletes a log. */
async function deleteTopic({ backend, query, name }: Call): Promise<Answer> {
  if (query.get("confirm") !== name) {
    const again = `?confirm=${encodeURIComponent(name)}`;
    const message = `deleting a topic deletes its records: repeat with ${again}`;
    throw new HttpError(400, "confirm_required", message);
  }
  await backend.deleteTopic(name);
  return { status: 204 };
}

async function skipDamage({ backend, request, name }: Call): Promise<Answer> {
  const partition = parsePartition(await readJson(request, jsonBytesMax));
  const skipped = await backend.skipDamage(name, partition);
  if (skipped === null) {
    throw new HttpError(409, "no_damage", `${name}/${partition}: nothing of it is damaged`);
  }
  return { status: 200, body: { topic: name, partition, from: skipped.from, to: skipped.to - 1 } };
}

async function listOrDescribe(call: Call): Promise<Answer> {
  if (call.query.has("group")) return describeGroup(call);
  return { status: 200, body: await groupList(call.backend) };
}

async function describeGroup(call: Call): Promise<Answer> {
  return { status: 200, body: await call.backend.describeGroup(groupOf(call)) };
}

async function deleteGroup(call: Call): Promise<Answer> {
  const group = groupOf(call);
  if (call.query.get("confirm") !== group) {
    const again = `confirm=${encodeURIComponent(group)}`;
    const message = `deleting a group deletes what it has committed: repeat with ${again}`;
    throw new HttpError(400, "confirm_required", message);
  }
  await call.backend.deleteGroup(group);
  return { status: 204 };
}

async function resetGroup(call: Call): Promise<Answer> {
  const group = groupOf(call);
  const reset = parseReset(await readJson(call.request, jsonBytesMax));
  const offsets = await call.backend.resetGroup(group, reset);
  refuseNoMoves(group, offsets, reset);
  return { status: 200, body: { group, dryRun: reset.dryRun, offsets } };
}

function groupOf({ name, query }: Call): string {
  const group = name === "" ? query.get("group") : name;
  if (group !== null) return group;
  throw new HttpError(400, "bad_request", "which group? ?group=…");
}

async function postCommand({ backend, request, name }: Call): Promise<Answer> {
  if (Buffer.byteLength(name) > limits.driverIdBytesMax || /[+#]/.test(name)) {
    throw new HttpError(400, "bad_id", "not a driver id");
  }
  const bytes = await readBody(request, limits.commandBytesMax);
  const { partition, offset } = await backend.command(name, bytes);
  return { status: 202, body: { partition, offset } };
}
