/** `milepost sink mongodb` as a user runs it: gateway, server and worker are real processes. */
import { Producer, stringSerializers } from "@platformatic/kafka";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { milepost, RunningCommand } from "../cli/run.ts";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { howToAddMongo, missingMongo, MongoServer } from "./mongodb-server.ts";
import { pingOf } from "./slices.ts";

const patiently = { timeout: 90_000, interval: 200 };
const title = `milepost sink mongodb (needs: ${howToAddMongo})`;

describe.skipIf(missingMongo())(title, () => {
  const database = `milepost_worker_${process.pid}`;
  let server: MongoServer;
  let gateway: Gateway;
  let worker: RunningCommand;

  beforeAll(async () => {
    [server, gateway] = await Promise.all([new MongoServer().start(), startGateway()]);
  }, 60_000);
  afterAll(async () => {
    worker?.child.kill("SIGKILL");
    await gateway?.stop();
    await server?.db(database).dropDatabase();
    await server?.stop();
    server?.discard();
  });

  test("pings become documents, bad ones go to positions.dlq and are put back once", async () => {
    const kafka = `127.0.0.1:${gateway.ports.kafka}`;
    const positions = server.db(database).collection("positions");
    await positions.createIndex({ trip: 1 }, { unique: true });
    const producer = new Producer({
      clientId: "test",
      bootstrapBrokers: [kafka],
      serializers: stringSerializers,
    });
    const messages = Array.from({ length: 500 }, (_, seq) => {
      const ping = pingOf(seq, { trip: seq % 100 === 50 ? "same" : `t${seq}` });
      return { topic: "positions", key: ping.id as string, value: JSON.stringify(ping) };
    });
    await producer.send({ messages, acks: -1 });
    await producer.close();
    const flags = ["--url", server.urlOf(database), "--server", kafka];
    worker = new RunningCommand(["sink", "mongodb", "--create-schema", ...flags]);
    // without transactions documents are there before the worker is done with their batch
    const offsets = server.db(database).collection<{ next_offset: number }>("milepost_offsets");
    const done = async () =>
      (await offsets.find().toArray()).reduce((sum, row) => sum + row.next_offset, 0);
    await expect.poll(done, patiently).toBe(500);
    expect(await positions.countDocuments()).toBe(496);
    expect(await worker.end("SIGTERM")).toMatchObject({ code: 0, stdout: "" });
    expect(worker.stderr).toContain("4 dead letters");
    const replay = async () => {
      const { code, stdout } = await milepost(["sink", "replay-dlq", ...flags, "--json"]);
      return { code, ...JSON.parse(stdout) };
    };
    const refused = await replay();
    expect(refused).toMatchObject({ code: 0, written: 0, there: 0 });
    expect(refused.failed).toHaveLength(4);
    await positions.updateOne({ trip: "same" }, { $set: { trip: "another" } });
    // there is room for one of them
    const mixed = await replay();
    expect(mixed).toMatchObject({ written: 1, there: 0 });
    expect(mixed.failed).toHaveLength(3);
    await positions.dropIndex("trip_1");
    expect(await replay()).toMatchObject({ written: 3, there: 1, failed: [] });
    expect(await replay()).toMatchObject({ written: 0, there: 4, failed: [] });
    const seqs = await positions.distinct("extra.seq");
    expect([seqs.length, await positions.countDocuments()]).toEqual([500, 500]);
  }, 180_000);
});
