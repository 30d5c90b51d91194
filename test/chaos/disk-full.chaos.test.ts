/** A full disk: nothing is acknowledged, everybody is told, and it goes on by itself. */
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { dump, startGateway } from "../harness/gateway.ts";
import { mountSmall } from "../harness/small-disk.ts";
import { ACCEPTED, connect, ping, publish, Raw } from "../listeners/mqtt/bytes.ts";

const disk = mountSmall(96);
const title = "missing" in disk ? `a full disk (${disk.missing})` : "a full disk";

describe.skipIf("missing" in disk)(title, () => {
  if ("missing" in disk) return;
  afterAll(disk.unmount);
  const ballast = join(disk.dir, "ballast");
  const dataDir = join(disk.dir, "data");

  test("each way in is refused, and taken again when there is room", async () => {
    const gateway = await startGateway({ dataDir, args: ["--disk-min", "20MiB"] });
    const { mqtt, device, admin } = gateway.ports;
    const ready = () => fetch(`http://127.0.0.1:${admin}/readyz`).then((r) => r.status);
    const post = () =>
      fetch(`http://127.0.0.1:${device}/v1/ingest`, { method: "POST", body: ping("h") });

    const open = await Raw.open(mqtt);
    open.send(connect({ id: "open" }), publish("fleet/open/position", ping("open"), 1, 1));
    expect(await open.take(8)).toBe(`${ACCEPTED}40020001`);
    const ws = new WebSocket(`ws://127.0.0.1:${device}/v1/ingest?driver=w`);
    const frames: string[] = [];
    ws.on("message", (m) => frames.push(String(m)));
    const wsClosed = new Promise<number>((resolve) => ws.on("close", resolve));
    await new Promise((resolve) => ws.on("open", resolve));
    expect(await ready()).toBe(200);

    const { bavail, bsize } = (await import("node:fs")).statfsSync(disk.dir);
    const left = 8 * 1024 * 1024;
    execFileSync("fallocate", ["-l", String(bavail * bsize - left), ballast]);
    await expect.poll(ready, { timeout: 10_000 }).toBe(503);

    // MQTT has no way to say no: the connection closes without a PUBACK
    open.send(publish("fleet/open/position", ping("refused"), 1, 2));
    expect(await open.untilClose()).toBe("");
    ws.send(ping("w"));
    expect(await wsClosed).toBe(1013);
    expect(JSON.parse(frames[0])).toMatchObject({ nack: 1, reason: "disk_full" });
    const answer = await post();
    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    // a newcomer is told, after a while, so that the fleet does not knock all at once
    const late = await Raw.open(mqtt);
    expect(await late.send(connect({ id: "late" })).untilClose()).toBe("20020003");
    expect(await gateway.metrics()).toContain("milepost_log_writable 0");

    rmSync(ballast);
    await expect.poll(ready, { timeout: 10_000 }).toBe(200);
    const again = await Raw.open(mqtt);
    again.send(connect({ id: "open" }), publish("fleet/open/position", ping("open"), 1, 3));
    expect(await again.take(8)).toBe(`${ACCEPTED}40020003`);
    again.end();
    expect((await post()).status).toBe(200);
    expect(await gateway.stop()).toBe(0);
    const stored = (await dump(dataDir, "positions")).map((r) => r.key);
    expect(stored.sort()).toEqual(["h", "open", "open"]);
  });
});
