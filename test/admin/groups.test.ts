import { afterEach, beforeEach, expect, test } from "vitest";
import type { GroupStanding } from "../../src/admin/backend.ts";
import { startAdmin } from "../../src/admin/server.ts";
import { MemoryBackend } from "./backend.ts";

let backend: MemoryBackend;
let admin: { port: number; close(): Promise<void> };

beforeEach(async () => {
  backend = new MemoryBackend();
  admin = await startAdmin({ host: "127.0.0.1", port: 0, log: () => {} }, backend);
});
afterEach(() => admin.close());

function standing(group: string, members: GroupStanding["members"] = []): GroupStanding {
  const lag = { committed: 3, end: 5, lag: 2, lagSeconds: 1.5 };
  const offsets = [{ topic: "t", partition: 0, ...lag }];
  return { group, state: "Empty", protocolType: "consumer", members, offsets };
}

async function call(method: string, path: string, body?: object) {
  const url = `http://127.0.0.1:${admin.port}/v1/admin/groups${path}`;
  const response = await fetch(url, { method, body: body && JSON.stringify(body) });
  const text = await response.text();
  return { status: response.status, body: text === "" ? null : JSON.parse(text) };
}

test("list, describe, reset, delete", async () => {
  backend.groupList.set("g", standing("g"));
  backend.groupList.set("a", standing("a"));
  const summary = { state: "Empty", protocolType: "consumer", members: 0 };
  expect(await call("GET", "")).toEqual({
    status: 200,
    body: { groups: ["a", "g"].map((group) => ({ group, ...summary })) },
  });
  expect(await call("GET", "/g")).toEqual({ status: 200, body: standing("g") });
  const moved = await call("POST", "/g/reset", { to: "earliest", dryRun: true });
  expect(moved.status).toBe(200);
  expect(moved.body).toMatchObject({ group: "g", dryRun: true, offsets: [{ from: 3, to: 0 }] });
  expect((await call("DELETE", "/g")).body.error.code).toBe("confirm_required");
  expect((await call("DELETE", "/g?confirm=a")).status).toBe(400);
  expect((await call("DELETE", "/g?confirm=g")).status).toBe(204);
  expect((await call("GET", "/g")).body.error).toEqual({
    code: "group_missing",
    message: "no such group: g",
  });
});

test.each(["a/b", "..", "", "%2f", "ü \n?&="])(
  "the group %j, which no path can hold",
  async (id) => {
    backend.groupList.set(id, standing(id));
    const query = `?group=${encodeURIComponent(id)}`;
    expect(await call("GET", query)).toEqual({ status: 200, body: standing(id) });
    expect((await call("POST", query, { to: "latest" })).status).toBe(200);
    expect((await call("DELETE", `${query}&confirm=${encodeURIComponent(id)}`)).status).toBe(204);
    expect(backend.groupList.size).toBe(0);
  },
);

test("a group with members is not reset", async () => {
  const member = { memberId: "m", clientId: "c", host: "h", assignment: [] };
  backend.groupList.set("g", standing("g", [member]));
  const { status, body } = await call("POST", "/g/reset", { to: "earliest" });
  expect([status, body.error.code]).toEqual([409, "group_not_empty"]);
});

test("nothing to reset is said", async () => {
  backend.groupList.set("g", { ...standing("g"), offsets: [] });
  const { status, body } = await call("POST", "/g/reset", { to: "earliest" });
  expect([status, body.error]).toEqual([
    409,
    { code: "nothing_committed", message: "g has committed nothing; name a topic" },
  ]);
});

test.each([
  [{}, /^to: expected earliest/],
  [{ to: "soon" }, /^to: expected earliest/],
  [{ to: 5 }, /^to: expected earliest/],
  [{ to: "1", topic: 7 }, /^topic: expected/],
  [{ to: "1", partition: 7 }, /^partition: of which topic/],
  [{ to: "1", topic: "t", partition: -1 }, /^partition: expected/],
  [{ to: "1", topic: "t", partition: "1" }, /^partition: expected/],
  [{ to: "1", dryRun: "yes" }, /^dryRun: expected/],
  [{ to: "1", dry_run: true }, /^unknown field dry_run/],
])("%j is no reset", async (body, message) => {
  backend.groupList.set("g", standing("g"));
  const answer = await call("POST", "/g/reset", body);
  expect([answer.status, answer.body.error.code]).toEqual([400, "bad_request"]);
  expect(answer.body.error.message).toMatch(message);
});

test("a change without a group is refused", async () => {
  expect((await call("POST", "", { to: "latest" })).body.error.message).toContain("which group?");
  expect((await call("DELETE", "?confirm=g")).status).toBe(400);
});
