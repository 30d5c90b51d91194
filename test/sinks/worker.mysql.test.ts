/** `milepost sink mysql` as a user runs it: gateway, MariaDB and workers are real processes. */
import { Producer, stringSerializers } from "@platformatic/kafka";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { milepost, RunningCommand } from "../cli/run.ts";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { missing } from "../setup/parts.ts";
import { MariadbServer } from "./mariadb-server.ts";
import { type Ping, pingOf } from "./slices.ts";

const patiently = { timeout: 90_000, interval: 100 };

describe.skipIf(missing("mariadb"))("milepost sink mysql", () => {
  let server: MariadbServer;
  let gateway: Gateway;
  let producer: Producer<string, string, string, string>;
  let url = "";
  let sent = 0;
  const workers: RunningCommand[] = [];

  beforeAll(async () => {
    [server, gateway] = await Promise.all([new MariadbServer().start(), startGateway()]);
    url = await server.database("w");
    producer = new Producer({
      clientId: "test",
      bootstrapBrokers: [kafka()],
      serializers: stringSerializers,
    });
  }, 60_000);
  afterEach(() => {
    for (const worker of workers.splice(0)) worker.child.kill("SIGKILL");
  });
  afterAll(async () => {
    await producer?.close(true);
    await gateway?.stop();
    await server?.stop("SIGKILL");
    server?.discard();
  });

  const kafka = (): string => `127.0.0.1:${gateway.ports.kafka}`;

  /** Pings with `seq` from `sent` on, over all partitions. */
  async function produce(count: number, more: (seq: number) => Ping = () => ({})): Promise<void> {
    const messages = Array.from({ length: count }, () => {
      const seq = sent++;
      const ping = { ...pingOf(seq, more(seq)), id: `d${seq % 97}` };
      return { topic: "positions", key: ping.id, value: JSON.stringify(ping) };
    });
    await producer.send({ messages, acks: -1 });
  }

  function start(...more: string[]): RunningCommand {
    const words = ["sink", "mysql", "--url", url, "--server", kafka(), "--create-schema"];
    const worker = new RunningCommand([...words, ...more]);
    workers.push(worker);
    return worker;
  }

  async function count(): Promise<number> {
    const found = await server.query("SELECT count(*) AS n FROM positions", "w").catch(() => null);
    return found?.[0].n ?? 0;
  }

  /** Every ping that was sent is there once, and each offset is. */
  async function complete(): Promise<void> {
    await expect.poll(count, patiently).toBeGreaterThanOrEqual(sent);
    const [found] = await server.query(
      "SELECT count(*) AS n, count(DISTINCT k_partition, k_offset) AS places, " +
        "count(DISTINCT JSON_VALUE(extra, '$.seq')) AS seqs FROM positions",
      "w",
    );
    expect(found).toEqual({ n: sent, places: sent, seqs: sent });
  }

  test("pings become rows, once, whichever of workers and database is killed", async () => {
    await produce(2000);
    const missing = await milepost(["sink", "mysql", "--server", kafka(), "--url", url]);
    expect(missing).toMatchObject({ code: 1, stdout: "" });
    expect(missing.stderr).toMatch(/there is no table positions.*--create-schema/);
    const first = start();
    await complete();
    expect(first.stderr).toContain("rows go by LOAD DATA LOCAL");
    // the database is killed amid rows, and comes back
    const producing = produce(4000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await server.stop("SIGKILL");
    await producing;
    await produce(500);
    await expect.poll(() => first.stderr, patiently).toMatch(/trying again/);
    await server.start();
    await complete();
    // a worker that stands still writes nothing when it goes on
    first.child.kill("SIGSTOP");
    const second = start();
    await produce(2000);
    await complete();
    first.child.kill("SIGCONT");
    await produce(2000);
    await complete();
    second.child.kill("SIGKILL");
    await produce(1000);
    await complete();
    expect(await first.end("SIGTERM")).toMatchObject({ code: 0, stdout: "" });
    const status = await milepost(["sink", "status", "--json", "--server", kafka()]);
    const { sinks } = JSON.parse(status.stdout);
    expect(sinks).toMatchObject([{ group: "sink-mysql", lag: 0, deadLettered: 0 }]);
  }, 240_000);

  test("bad rows go to positions.dlq, and are put back once", async () => {
    await server.query("ALTER TABLE positions MODIFY trip varchar(9)", "w");
    start();
    const before = sent;
    await produce(500, (seq) => ({ trip: seq % 100 === 50 ? "much too long" : "short" }));
    await expect.poll(count, patiently).toBe(before + 495);
    const replay = async () => {
      const words = ["sink", "replay-dlq", "--url", url, "--server", kafka(), "--json"];
      const { code, stdout } = await milepost(words);
      return { code, ...JSON.parse(stdout) };
    };
    const refused = await replay();
    expect(refused).toMatchObject({ code: 0, written: 0, there: 0 });
    expect(refused.failed).toHaveLength(5);
    expect(refused.failed[0].reason).toMatch(/^database 1406: /);
    await server.query("ALTER TABLE positions MODIFY trip text", "w");
    expect(await replay()).toMatchObject({ written: 5, there: 0, failed: [] });
    expect(await replay()).toMatchObject({ written: 0, there: 5, failed: [] });
    await complete();
  }, 120_000);
});
