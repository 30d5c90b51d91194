/** A full disk: producers are told so, readers go on, and it goes on by itself. */
import { execFileSync } from "node:child_process";
import { rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { produce } from "../../src/wire/apis/produce.ts";
import { startGateway } from "../harness/gateway.ts";
import { mountSmall } from "../harness/small-disk.ts";
import { fresh, idempotent, recordsAt } from "./batches.ts";
import {
  createTopic,
  errorName,
  fetchRecords,
  newProducer,
  produceRequest,
  send,
  sendOne,
} from "./producing.ts";
import { WireClient } from "./wire-client.ts";

const disk = mountSmall(96);
const title = "missing" in disk ? `a full disk (${disk.missing})` : "a full disk";

describe.skipIf("missing" in disk)(title, () => {
  if ("missing" in disk) return;
  afterAll(disk.unmount);
  const ballast = join(disk.dir, "ballast");
  const dataDir = join(disk.dir, "data");

  test("error 56 for each batch, records stay readable, and then it goes on", async () => {
    const gateway = await startGateway({ dataDir, args: ["--disk-min", "20MiB"] });
    const client = await WireClient.open(gateway.ports.kafka);
    const writable = () => gateway.metric("milepost_log_writable");
    await createTopic(client, "t", 2);
    const id = await newProducer(client);
    const batch = (sequence: number) => idempotent(recordsAt(Date.now(), 1), id, 0, sequence);
    expect(errorName(await sendOne(client, "t", batch(0)))).toBe("NONE");

    const { bavail, bsize } = statfsSync(disk.dir);
    execFileSync("fallocate", ["-l", String(bavail * bsize - 8 * 1024 * 1024), ballast]);
    await expect.poll(writable, { timeout: 20_000 }).toBe(0);

    const sent = [
      { topic: "t", partition: 0, bytes: batch(1) },
      { topic: "nowhere", partition: 0, bytes: fresh() },
      { topic: "t", partition: 1, bytes: fresh() },
    ];
    for (const acks of [-1, 1]) {
      const refused = await send(client, sent, { acks });
      expect(refused.map(errorName)).toEqual([
        "KAFKA_STORAGE_ERROR",
        "UNKNOWN_TOPIC_OR_PARTITION",
        "KAFKA_STORAGE_ERROR",
      ]);
      expect(refused[0]).toMatchObject({ baseOffset: -1, logStartOffset: 0 });
      expect(refused[0].errorMessage).toContain("disk");
    }
    const zero = await WireClient.open(gateway.ports.kafka);
    zero.send(produce, 9, produceRequest(sent.slice(0, 1), 0));
    expect(await zero.nextFrame()).toBe(null);
    expect(await fetchRecords(client, "t")).toHaveLength(1);

    rmSync(ballast);
    await expect.poll(writable, { timeout: 20_000 }).toBe(1);
    // what was refused has left no trace: the sequence goes on where it was
    const after = await send(client, [sent[0], sent[2]]);
    expect(after.map(errorName)).toEqual(["NONE", "NONE"]);
    expect(after.map(({ baseOffset }) => baseOffset)).toEqual([1, 0]);
    expect(await fetchRecords(client, "t")).toHaveLength(2);
    client.close();
    expect(await gateway.stop()).toBe(0);
  }, 120_000);
});
