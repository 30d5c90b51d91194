import { afterAll, beforeAll, expect, test } from "vitest";
import { describeGroups } from "../../src/wire/apis/describe-groups.ts";
import { E } from "../../src/wire/errors.ts";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { GroupClient } from "./group-client.ts";

let gateway: Gateway;
let groups = 0;
const open: GroupClient[] = [];

beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(async () => {
  for (const client of open) client.close();
  await gateway.stop();
});

const newGroup = (): string => `group-${++groups}`;
async function member(group: string, clientId?: string): Promise<GroupClient> {
  const client = await GroupClient.open(gateway.ports.kafka, group, clientId);
  open.push(client);
  return client;
}

test("a member joins, is assigned, commits, and leaves", async () => {
  const a = await member(newGroup());
  const joined = await a.enter();
  expect(joined).toMatchObject({ errorCode: E.NONE, generationId: 1, leader: a.memberId });
  expect(await a.heartbeat()).toBe(E.NONE);
  expect(await a.commit([{ topic: "positions", partition: 3, offset: 42 }])).toEqual([E.NONE]);
  expect(await a.offsets()).toEqual({ "positions/3": 42 });
  expect((await a.leave()).members[0].errorCode).toBe(E.NONE);
  expect(await a.heartbeat()).toBe(E.UNKNOWN_MEMBER_ID);
});
