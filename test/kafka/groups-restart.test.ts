import { expect, test } from "vitest";
import { describeGroups } from "../../src/wire/apis/describe-groups.ts";
import { E } from "../../src/wire/errors.ts";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { GroupClient } from "./group-client.ts";
import { WireClient } from "./wire-client.ts";

/** A busy machine takes its time. */
const patiently = { timeout: 20_000 };

/** The same member over a new connection. */
async function again(gateway: Gateway, old: GroupClient): Promise<GroupClient> {
  old.close();
  const client = await GroupClient.open(gateway.ports.kafka, old.group);
  const { memberId, generation, instance, joined } = old;
  return Object.assign(client, { memberId, generation, instance, joined });
}

/** Until the group is loaded. */
async function loaded<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!String(error).includes(`: ${E.COORDINATOR_LOAD_IN_PROGRESS}`)) throw error;
    }
  }
}

test("after kill -9 members go on in their generation, with what they committed", async () => {
  const gateway = await startGateway();
  const clients: GroupClient[] = [];
  const place = { topic: "positions", partition: 4 };
  try {
    for (let i = 0; i < 3; i++) {
      clients.push(await GroupClient.open(gateway.ports.kafka, "fare"));
    }
    clients[2].instance = "static";
    await Promise.all(clients.map((c) => c.join()));
    clients.sort((c) => (c.isLeader ? -1 : 1));
    const all = clients.map(({ memberId }) => ({ memberId, assignment: Buffer.from(memberId) }));
    await Promise.all(clients.map((c) => c.sync(5, c.isLeader ? all : [])));
    const { generation } = clients[0];
    const simple = await GroupClient.open(gateway.ports.kafka, "simple");
    await simple.commit([{ ...place, offset: 7, metadata: "of nobody" }]);

    for (let round = 1; round <= 2; round++) {
      expect(await clients[1].commit([{ ...place, offset: round * 10 }])).toEqual([E.NONE]);
      await gateway.kill();
      await gateway.start();
      for (const [i, c] of clients.entries()) clients[i] = await again(gateway, c);
      expect(await loaded(() => clients[0].offsets())).toEqual({ "positions/4": round * 10 });
      for (const c of clients) {
        expect(await c.heartbeat()).toBe(E.NONE);
        const { errorCode, assignment } = await c.sync();
        expect([errorCode, Buffer.from(assignment).toString()]).toEqual([E.NONE, c.memberId]);
        expect(c.generation).toBe(generation);
      }
    }

    const wire = await WireClient.open(gateway.ports.kafka);
    const asked = { groups: ["fare", "simple"], includeAuthorizedOperations: false };
    const described = (await wire.request(describeGroups, 5, asked)).groups;
    expect(described[0]).toMatchObject({ groupState: "Stable", protocolData: "range" });
    expect(described[0].members.map((m) => m.groupInstanceId).sort()).toEqual([
      null,
      null,
      "static",
    ]);
    expect(described[1]).toMatchObject({ groupState: "Empty", protocolType: "" });
    const kept = await again(gateway, simple);
    expect(await kept.offsets()).toEqual({ "positions/4": 7 });

    // a static member comes back from its own restart without a rebalance, here too
    const fixed = clients.find((c) => c.instance !== null) as GroupClient;
    const back = await GroupClient.open(gateway.ports.kafka, "fare");
    back.instance = "static";
    expect(await back.join()).toMatchObject({ errorCode: E.NONE, generationId: generation });
    expect(await fixed.heartbeat()).toBe(E.FENCED_INSTANCE_ID);
    for (const c of [...clients, kept, back, wire]) c.close();
  } finally {
    for (const c of clients) c.close();
    await gateway.stop();
  }
}, 120_000);

test("a stop with members that wait in a rebalance sends them away, and is quick", async () => {
  const gateway = await startGateway();
  const [a, b] = [
    await GroupClient.open(gateway.ports.kafka, "g"),
    await GroupClient.open(gateway.ports.kafka, "g"),
  ];
  await a.enter();
  const waits = b.join(3, { rebalanceTimeoutMs: 300_000 });
  await expect.poll(() => a.heartbeat(), patiently).toBe(E.REBALANCE_IN_PROGRESS);
  const stopped = gateway.stop();
  expect((await waits).errorCode).toBe(E.COORDINATOR_NOT_AVAILABLE);
  expect(await stopped).toBe(0);
  a.close();
  b.close();
});
