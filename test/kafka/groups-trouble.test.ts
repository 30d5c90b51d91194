/** A gateway that stands still, and one whose disk is full: members stay what they are. */
import { execFileSync } from "node:child_process";
import { rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { E } from "../../src/wire/errors.ts";
import { limits } from "../../src/model/limits.ts";
import { startGateway } from "../harness/gateway.ts";
import { mountSmall } from "../harness/small-disk.ts";
import { GroupClient } from "./group-client.ts";

/** A busy machine takes its time. */
const patiently = { timeout: 20_000 };

const place = { topic: "positions", partition: 0 };
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test("SIGSTOP for longer than their sessions evicts nobody", async () => {
  const gateway = await startGateway();
  const client = await GroupClient.open(gateway.ports.kafka, "g");
  const sessionTimeoutMs = limits.groupSessionMsMin;
  await client.join(9, { sessionTimeoutMs });
  await client.sync(5, [{ memberId: client.memberId, assignment: Buffer.from("x") }]);
  process.kill(gateway.pid, "SIGSTOP");
  await sleep(sessionTimeoutMs + 2000);
  process.kill(gateway.pid, "SIGCONT");
  expect(await client.heartbeat()).toBe(E.NONE);
  expect(await client.commit([{ ...place, offset: 1 }])).toEqual([E.NONE]);
  expect(await gateway.metric("milepost_group_evictions_total")).toBe(0);
  client.close();
  await gateway.stop();
}, 60_000);

const disk = mountSmall(96);
const title = "missing" in disk ? `a full disk (${disk.missing})` : "a full disk";

describe.skipIf("missing" in disk)(title, () => {
  if ("missing" in disk) return;
  afterAll(disk.unmount);
  const ballast = join(disk.dir, "ballast");
  const dataDir = join(disk.dir, "data");

  test("commits and generations are refused for a while; what was there stays", async () => {
    const gateway = await startGateway({ dataDir, args: ["--disk-min", "20MiB"] });
    const writable = () => gateway.metric("milepost_log_writable");
    const open = () => GroupClient.open(gateway.ports.kafka, "g");
    const [a, late] = [await open(), await open()];
    await a.enter();
    expect(await a.commit([{ ...place, offset: 1 }])).toEqual([E.NONE]);

    const { bavail, bsize } = statfsSync(disk.dir);
    execFileSync("fallocate", ["-l", String(bavail * bsize - 8 * 1024 * 1024), ballast]);
    await expect.poll(writable, patiently).toBe(0);
    // a code at which every client tries again
    expect(await a.commit([{ ...place, offset: 2 }])).toEqual([E.COORDINATOR_NOT_AVAILABLE]);
    expect(await a.offsets()).toEqual({ "positions/0": 1 });
    expect(await a.heartbeat()).toBe(E.NONE);
    const joins = late.join();
    await expect.poll(() => a.heartbeat(), patiently).toBe(E.REBALANCE_IN_PROGRESS);
    await Promise.all([a.join(), joins]);
    const follows = late.sync();
    expect((await a.sync()).errorCode).toBe(E.COORDINATOR_NOT_AVAILABLE);
    expect((await follows).errorCode).toBe(E.COORDINATOR_NOT_AVAILABLE);

    rmSync(ballast);
    await expect.poll(writable, patiently).toBe(1);
    await Promise.all([a.enter(), late.enter()]);
    expect(await late.commit([{ ...place, offset: 3 }])).toEqual([E.NONE]);
    await gateway.kill();
    await gateway.start();
    const again = Object.assign(await open(), { memberId: a.memberId, generation: a.generation });
    expect(await again.heartbeat()).toBe(E.NONE);
    expect(await again.offsets()).toEqual({ "positions/0": 3 });
    for (const client of [a, late, again]) client.close();
    expect(await gateway.stop()).toBe(0);
  }, 120_000);
});
