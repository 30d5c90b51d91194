import { Broker, type BrokerOptions } from "../../../src/listeners/broker/broker.ts";
import { Registry } from "../../../src/metrics/registry.ts";

export type Opened = {
  broker: Broker;
  /** Lines for an operator. */
  reports: string[];
  /** `topic payload clientId` of wills on ingest topics. */
  ingestWills: string[];
  registry: Registry;
  close(): Promise<void>;
};

export async function openBroker(
  log: BrokerOptions["log"],
  options: Partial<BrokerOptions> = {},
): Promise<Opened> {
  const reports: string[] = [];
  const ingestWills: string[] = [];
  const registry = new Registry();
  const broker = await Broker.open({
    log,
    registry,
    now: Date.now,
    report: (line) => reports.push(line),
    ingestWill: (topic, payload, id) =>
      ingestWills.push(`${topic} ${Buffer.from(payload).toString()} ${id}`),
    ...options,
  });
  return { broker, reports, ingestWills, registry, close: () => broker.close() };
}
