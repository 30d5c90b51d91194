/** aedes-persistence's own suite, on ours. */
import assert from "node:assert";
import abstractPersistence from "aedes-persistence/abstract.js";
import { onTestFinished, test } from "vitest";
import { Journal } from "../../../src/listeners/broker/journal.ts";
import { brokerMetrics } from "../../../src/listeners/broker/metrics.ts";
import { Persistence } from "../../../src/listeners/broker/persistence.ts";
import { Registry } from "../../../src/metrics/registry.ts";
import { newLog } from "./real-log.ts";

type Suite = (context: unknown) => Promise<void>;

/** Of an incoming QoS 2 message only the packet id is kept; payloads are bytes here, always. */
const otherwise = new Set([
  "add incoming packet, get it, and clear with messageId",
  "add outgoing packet as a string and stream",
]);

abstractPersistence({
  test: (name: string, run: Suite) => {
    if (otherwise.has(name)) return;
    test(name, () => run({ assert, plan: () => {}, diagnostic: () => {} }));
  },
  testAsync: true,
  persistence: async () => {
    const metrics = brokerMetrics(new Registry());
    const log = await newLog();
    const journal = new Journal(log, "__mqtt", metrics.journaled, assert.fail);
    onTestFinished(() => journal.close());
    return new Persistence(journal, metrics, Date.now);
  },
});
