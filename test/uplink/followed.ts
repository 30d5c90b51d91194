/** A tracker on the topics of a cluster, in the test's own thread; and that cluster's clients. */
import { Admin, type CompressionAlgorithmValue, Producer } from "@platformatic/kafka";
import { onTestFinished } from "vitest";
import { ClusterSource } from "../../src/live/cluster-source.ts";
import { DriverIndex } from "../../src/live/driver-index.ts";
import { DriverTable, NO_ROW } from "../../src/live/drivers.ts";
import { History } from "../../src/live/history.ts";
import { Hub } from "../../src/live/hub.ts";
import { type TrackedTo, Tracker } from "../../src/live/tracker.ts";
import { ClusterClient, clusterOptions } from "../../src/uplink/cluster-client.ts";
import type { TestPing } from "../live/fixture.ts";

export type Followed = {
  tracker: Tracker;
  drivers: DriverTable;
  hub: Hub;
  lines: string[];
  /** What is known of a driver; null: it was never seen. */
  seen(id: string): TestPing | null;
};

export async function startFollowed(
  brokers: string[],
  from: TrackedTo | null = null,
): Promise<Followed> {
  const drivers = new DriverTable();
  const index = new DriverIndex(drivers);
  const hub = new Hub(drivers, index, new History(1_000_000));
  const lines: string[] = [];
  const client = new ClusterClient(clusterOptions(brokers, "test"));
  const now = Date.now;
  const source = new ClusterSource({ client, now, report: (line) => lines.push(line) });
  const tracker = new Tracker({ source, drivers, index, hub, staleMs: 60_000, now });
  onTestFinished(async () => {
    tracker.stop();
    await client.close();
  });
  await tracker.start(from);
  const seen = (id: string): TestPing | null => {
    const row = drivers.findId(id);
    return row === NO_ROW ? null : (JSON.parse(`${drivers.json(row)}}`) as TestPing);
  };
  return { tracker, drivers, hub, lines, seen };
}

export type Sent = { topic: string; ping: TestPing; partition?: number; received?: number };

export class ClusterUser {
  readonly admin: Admin;
  readonly #producer: Producer;

  constructor(brokers: string[]) {
    const options = { clientId: "test", bootstrapBrokers: brokers, retries: 5 };
    this.admin = new Admin(options);
    this.#producer = new Producer(options);
  }

  async send(sent: Sent[], compression: CompressionAlgorithmValue = "none"): Promise<void> {
    const messages = sent.map(({ topic, ping, partition, received = ping.ts }) => ({
      topic,
      key: Buffer.from(ping.id),
      value: Buffer.from(JSON.stringify(ping)),
      timestamp: BigInt(received),
      ...(partition === undefined ? {} : { partition }),
    }));
    await this.#producer.send({ messages, compression, acks: -1 });
  }

  async close(): Promise<void> {
    await Promise.all([this.admin.close(), this.#producer.close()]);
  }
}
