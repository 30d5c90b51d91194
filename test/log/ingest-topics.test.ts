import { afterAll, beforeAll, expect, test } from "vitest";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { ping } from "../listeners/mqtt/bytes.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(() => gateway.stop());

const create = (name: string, config: Record<string, string>) =>
  fetch(`http://127.0.0.1:${gateway.ports.admin}/v1/admin/topics`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ topic: name, partitions: 3, config }),
  });

const alter = (name: string, config: Record<string, string>) =>
  fetch(`http://127.0.0.1:${gateway.ports.admin}/v1/admin/topics/${name}`, {
    method: "PATCH",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ config }),
  });

test("a ping goes to every topic that takes positions, four at the most", async () => {
  const from = { "milepost.from": "position" };
  for (const [name, key] of [
    ["by-7", "h3:7"],
    ["by-4", "h3:4"],
    ["copy", "driver"],
  ]) {
    expect((await create(name, { ...from, "milepost.key": key })).status).toBe(201);
  }
  const fifth = await create("fifth", from);
  expect(await fifth.json()).toMatchObject({ error: { code: "policy" } });
  // the largest frame, into all of them
  const pings = Array.from({ length: 2000 }, (_, i) => ping(`d${i}`));
  const body = `[${pings.join(",")}]`;
  const answer = await fetch(`http://127.0.0.1:${gateway.ports.device}/v1/ingest`, {
    method: "POST",
    body,
  });
  expect(await answer.json()).toEqual({ accepted: 2000, rejected: [] });
  for (const topic of ["positions", "by-7", "by-4", "copy"]) {
    expect(await gateway.metric("milepost_log_end_offset", `topic="${topic}"`)).toBe(2000);
  }
});

test("nothing is acknowledged while no topic takes positions", async () => {
  const { admin, device } = gateway.ports;
  const topic = `http://127.0.0.1:${admin}/v1/admin/topics/positions`;
  const send = async (): Promise<number> => {
    const body = ping("between");
    const answer = await fetch(`http://127.0.0.1:${device}/v1/ingest`, { method: "POST", body });
    return answer.status;
  };
  for (const name of ["by-7", "by-4", "copy", "positions"]) {
    const url = topic.replace("positions", name);
    expect((await fetch(`${url}?confirm=${name}`, { method: "DELETE" })).status).toBe(204);
  }
  expect((await fetch(`http://127.0.0.1:${admin}/readyz`)).status).toBe(503);
  expect(await send()).toBe(503);
  expect((await create("positions", { "milepost.from": "position" })).status).toBe(201);
  expect(await send()).toBe(200);
  expect(await gateway.metric("milepost_log_end_offset", `topic="positions"`)).toBe(1);
});

test("a topic that devices write to takes their largest batch", async () => {
  const small = { "max.message.bytes": "100000" };
  const refused = await create("small", { ...small, "milepost.from": "event" });
  expect(await refused.json()).toMatchObject({ error: { code: "invalid_config" } });
  expect((await create("small", small)).status).toBe(201);
  const altered = await alter("positions", small);
  expect(await altered.json()).toMatchObject({ error: { code: "invalid_config" } });
});

test("rejects, whose records may have no key, cannot be compacted", async () => {
  const altered = await alter("rejects", { "cleanup.policy": "delete,compact" });
  expect(await altered.json()).toMatchObject({ error: { code: "invalid_config" } });
});
