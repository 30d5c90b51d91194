import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startAdmin } from "../../src/admin/server.ts";
import { MemoryBackend } from "../admin/backend.ts";
import { milepost } from "./run.ts";

let admin: { port: number; close(): Promise<void> };

beforeEach(async () => {
  const options = { host: "127.0.0.1", port: 0, log: () => {} };
  admin = await startAdmin(options, new MemoryBackend());
});
afterEach(() => admin.close());

const topics = (...args: string[]) =>
  milepost(["topics", ...args, "--server", `127.0.0.1:${admin.port}`]);

test("create, describe, alter, list, delete", async () => {
  const created = await topics("create", "trips", "--partitions", "2", "--config", "a=1");
  expect([created.code, created.stdout]).toEqual([0, ""]);
  expect(created.stderr).toBe("created trips with 2 partitions\n");

  const described = await topics("describe", "trips", "--json");
  expect(JSON.parse(described.stdout)).toEqual({
    topic: "trips",
    config: { "retention.ms": "604800000", a: "1" },
    partitions: [0, 1].map((partition) => ({
      partition,
      start: 0,
      end: 12 * partition,
      highWatermark: 12 * partition,
      leader: 1,
      leaderEpoch: 0,
      replicas: [1],
      isr: [1],
    })),
  });
  const forPeople = await topics("describe", "trips");
  expect(forPeople.stdout).toMatch(/^SETTING +VALUE\n/);
  expect(forPeople.stdout).toMatch(/\n +1 +0 +12 +12 +1 +0 +1 +1\n/);

  const changed = ["--partitions", "5", "--config", "a=", "--config", "b=2=3"];
  expect((await topics("alter", "trips", ...changed)).code).toBe(0);
  const listed = await topics("list", "--json");
  expect(JSON.parse(listed.stdout)).toEqual({
    topics: [{ topic: "trips", partitions: 5, config: { b: "2=3" } }],
  });
  expect((await topics("list")).stdout).toBe(
    "TOPIC  PARTITIONS  SETTINGS\ntrips           5  b=2=3\n",
  );

  const deleted = await topics("delete", "trips", "--yes", "--json");
  expect(JSON.parse(deleted.stdout)).toEqual({ topic: "trips", deleted: true });
  expect(JSON.parse((await topics("list", "--json")).stdout)).toEqual({ topics: [] });
});

test("what the gateway refuses is said in its words, exit code 1", async () => {
  const missing = await topics("describe", "none");
  expect(missing).toEqual({
    code: 1,
    stdout: "",
    stderr: "milepost: no such topic: none\n",
  });
  expect((await topics("create", "a b")).stderr).toContain("not a valid topic name: a b");
  expect((await topics("describe", "..")).code).toBe(1);
});

test("no gateway there, or something else", async () => {
  await admin.close();
  const { code, stderr } = await topics("list");
  expect(code).toBe(1);
  expect(stderr).toContain(`no gateway answers at http://127.0.0.1:${admin.port} (ECONNREFUSED)`);
  expect(stderr).toContain("--server");
  const other = createServer((_, response) => response.end("<html>"));
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const { port } = other.address() as AddressInfo;
  const wrong = await milepost(["topics", "list", "--server", `127.0.0.1:${port}`]);
  expect(wrong.stderr).toContain("not as a gateway's admin port does");
  other.close();
});
