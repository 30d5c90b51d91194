/** Two gateways of one data directory: the cluster would take the one's pings for the other's. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Gateway, startGateway } from "../harness/gateway.ts";
import { drive, expectAll, pingsOf, stopAll } from "./fleet.ts";

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test("a copy of a data directory writes under a producer id of its own", async () => {
  const dir = mkdtempSync(join(tmpdir(), "milepost-copy-"));
  const target = await startGateway({ args: ["--live", "off"] });
  const brokers = [`127.0.0.1:${target.ports.kafka}`];
  const args = ["--uplink", brokers[0], "--live", "off", "--durability", "mirrored"];
  const [one, copy] = ["one", "copy"].map((n) => new Gateway({ dataDir: join(dir, n), args }));
  await one.start();
  const before = drive(one, 2, "b");
  await sleep(300);
  await stopAll(before);
  await one.stop();
  cpSync(join(dir, "one"), join(dir, "copy"), { recursive: true });
  await Promise.all([one.start(), copy.start()]);
  const drivers = [...drive(one, 3, "o"), ...drive(copy, 3, "c")];
  await sleep(500);
  await stopAll(drivers);
  expect(copy.stderr()).toContain("this directory is a copy of another");
  expect(one.stderr()).not.toContain("producer id");
  expectAll([...before, ...drivers], await pingsOf(brokers));
  await Promise.all([one.stop(), copy.stop()]);
  await target.stop();
  rmSync(dir, { recursive: true, force: true });
}, 90_000);
