/** Drivers on WebSockets that send again what was not acknowledged; what a cluster has of them. */
import { expect } from "vitest";
import { WebSocket } from "ws";
import { baseSequence, producerId, recordCount } from "../../src/batch/header.ts";
import { recordsOf } from "../../src/batch/records.ts";
import { ClusterClient, clusterOptions, LATEST } from "../../src/uplink/cluster-client.ts";
import { endOffset } from "../../src/batch/header.ts";
import type { Gateway } from "../harness/gateway.ts";

type Ack = { ack?: number; nack?: number; p?: ([number, number] | null)[] };
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Sends frames of a few pings one after the other; each at least until it is acknowledged. */
export class Driver {
  readonly id: string;
  /** How often each seq was sent. */
  readonly sent: number[] = [];
  /** Acknowledged seqs, and the places that were named. */
  readonly acked = new Map<number, [number, number] | null>();
  readonly #gateway: Gateway;
  readonly #pauseMs: number;
  #next = 0;
  #isStopped = false;
  readonly #done: Promise<void>;

  /** `pauseMs`: between an answer and what is sent after it. */
  constructor(gateway: Gateway, id: string, pauseMs = 0) {
    this.#gateway = gateway;
    this.#pauseMs = pauseMs;
    this.id = id;
    this.#done = this.#run();
  }

  /** No new pings; resolves when all that were sent are acknowledged. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    while (!this.#isStopped || this.acked.size < this.#next) {
      await this.#connection().catch(() => {});
      await sleep(50);
    }
  }

  #connection(): Promise<void> {
    return new Promise((resolve, reject) => {
      const url = `ws://127.0.0.1:${this.#gateway.ports.device}/v1/ingest?driver=${this.id}`;
      const socket = new WebSocket(url);
      const frames: number[][] = [];
      const unacked = (): number[] =>
        Array.from({ length: this.#next }, (_, seq) => seq).filter((seq) => !this.acked.has(seq));
      const send = (seqs: number[]): void => {
        frames.push(seqs);
        for (const seq of seqs) this.sent[seq] = (this.sent[seq] ?? 0) + 1;
        const ts = Date.now();
        socket.send(JSON.stringify(seqs.map((seq) => ({ ts, lat: 12, lon: 77, seq }))));
      };
      const fill = (): void => {
        while (!this.#isStopped && frames.length < 4) {
          send(Array.from({ length: 5 }, () => this.#next++));
        }
      };
      const go = (): void => {
        fill();
        if (frames.length === 0) socket.close();
      };
      socket.on("open", () => {
        const again = unacked();
        if (again.length > 0) send(again);
        go();
      });
      socket.on("message", (data) => {
        const { ack, p = [] } = JSON.parse(String(data)) as Ack;
        if (ack === undefined) return;
        for (const [i, seq] of (frames.shift() ?? []).entries()) this.acked.set(seq, p[i] ?? null);
        setTimeout(go, this.#pauseMs);
      });
      socket.on("error", reject);
      socket.on("close", () => resolve());
    });
  }
}

export const drive = (gateway: Gateway, count: number, name = "d", pauseMs = 0): Driver[] =>
  Array.from({ length: count }, (_, n) => new Driver(gateway, `${name}${n}`, pauseMs));

export const stopAll = (drivers: Driver[]): Promise<unknown> =>
  Promise.all(drivers.map((driver) => driver.stop()));

export type Kept = { partition: number; offset: number; id: string; seq: number; key: string };

/**
 * All pings of a cluster's topic; of each producer no sequence stands there twice, unless the
 * cluster forgets producers, which begin anew then.
 */
export async function pingsOf(
  brokers: string[],
  topic = "positions",
  forgets = false,
): Promise<Kept[]> {
  const client = new ClusterClient(clusterOptions(brokers, "test", 10_000));
  const kept: Kept[] = [];
  try {
    const ends = await client.offsets(topic, LATEST);
    for (const [partition, end] of ends.entries()) {
      const sequences = new Set<string>();
      for (let next = 0; next < end;) {
        const { batches, errorCode } = await client.read(topic, partition, next, 8 << 20);
        expect(errorCode).toBe(0);
        for (const batch of batches) {
          next = endOffset(batch);
          for (let i = 0; i < recordCount(batch); i++) {
            sequences.add(`${producerId(batch)}/${baseSequence(batch) + i}`);
          }
          for (const { offset, key, value } of recordsOf(batch)) {
            const { id, seq } = JSON.parse(Buffer.from(value ?? []).toString()) as Kept;
            kept.push({ partition, offset, id, seq, key: Buffer.from(key ?? []).toString() });
          }
        }
      }
      if (!forgets) expect(sequences.size).toBe(end);
    }
  } finally {
    await client.close();
  }
  return kept;
}

/** Everything acknowledged is there, nothing more often than it was sent, and in order. */
export function expectAll(drivers: Driver[], kept: Kept[]): void {
  for (const { id, acked, sent } of drivers) {
    const own = kept.filter((ping) => ping.id === id);
    expect(new Set(own.map(({ partition }) => partition)).size).toBe(1);
    const counts = new Map<number, number>();
    for (const { seq, key } of own) {
      expect(key).toBe(id);
      counts.set(seq, (counts.get(seq) ?? 0) + 1);
    }
    const missing = [...acked.keys()].filter((seq) => !counts.has(seq));
    expect(missing).toEqual([]);
    const often = [...counts].filter(([seq, count]) => count > sent[seq]);
    expect(often).toEqual([]);
    // first occurrences stand in the order sent
    expect([...counts.keys()]).toEqual([...counts.keys()].toSorted((a, b) => a - b));
  }
}
