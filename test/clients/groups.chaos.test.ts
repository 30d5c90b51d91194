/**
 * Consumer groups under churn, as a history: members are killed, leave and come, the gateway is
 * killed twice, records keep coming. In the end each group has processed every record at least
 * once; all along nobody committed what was not processed, skipped anything, saw a partition out
 * of order, or owned what another member of its generation owned.
 */
import { Producer } from "@platformatic/kafka";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Admin } from "kafkajs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { missing } from "../setup/parts.ts";
import { kafkajs } from "./kafkajs.ts";
import { GAVE_UP, Ledger } from "./ledger.ts";
import { build, Librdkafka } from "./librdkafka.ts";
import { options } from "./platformatic.ts";

const PARTITIONS = 8;
const topic = "history";
const patiently = { timeout: 150_000, interval: 100 };
const folder = mkdtempSync(join(tmpdir(), "milepost-churn-"));
const program = new URL("member.ts", import.meta.url).pathname;
const hasLibrdkafka = !missing("librdkafka");

type Client = "range" | "cooperative-sticky" | "roundrobin" | "kafkajs" | "platformatic";
/** One member of a group for each that is named; more come in the same order. */
const groups: Record<string, Client[]> = {
  kafkajs: ["kafkajs", "kafkajs"],
  ...(hasLibrdkafka
    ? {
        range: ["range", "range", "range"],
        cooperative: ["cooperative-sticky", "cooperative-sticky", "cooperative-sticky"],
        mixed: ["platformatic", "roundrobin", "roundrobin"],
      }
    : { platformatic: ["platformatic", "platformatic"] }),
};

let gateway: Gateway;
let address: string;
let admin: Admin;
let producer: Producer;
const left: string[] = [];

/** A process. */
class Member {
  readonly name: string;
  /** Unasked: with its exit code, and what it said. */
  onEnd: (code: number | null, stderr: string) => void = () => {};
  readonly #end: (signal: NodeJS.Signals) => Promise<number | null>;
  #asked = false;

  constructor(group: string, client: Client, name: string, ledger: string) {
    this.name = name;

    let ended: Promise<number | null>;
    let stderr: () => string;
    if (client === "kafkajs" || client === "platformatic") {
      const child = spawn(process.execPath, [program, client, address, group, topic, ledger, name]);
      let text = "";
      child.stderr.on("data", (b) => (text += String(b)));
      stderr = () => text;
      ended = new Promise((resolve) => child.on("close", resolve));
      this.#end = (signal) => (child.kill(signal), ended);
    } else {
      const process = new Librdkafka("consumer", address, {
        "group.id": group,
        "partition.assignment.strategy": client,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": false,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 300,
        "fetch.wait.max.ms": 100,
        "reconnect.backoff.max.ms": 500,
      });
      process.ask("member", topic, ledger, name).catch(() => {});
      stderr = () => process.stderr();
      ended = process.ended;
      this.#end = (signal) => process.end(signal);
    }
    void ended.then((code) => {
      if (!this.#asked) this.onEnd(code, stderr());
    });
  }

  end(signal: NodeJS.Signals): Promise<number | null> {
    this.#asked = true;
    return this.#end(signal);
  }
}

class Group {
  readonly name: string;
  readonly clients: Client[];
  readonly #path: string;
  readonly ledger: Ledger;
  members: Member[] = [];
  #started = 0;

  constructor(name: string, clients: Client[]) {
    this.name = name;
    this.clients = clients;
    this.#path = join(folder, name);
    writeFileSync(this.#path, "");
    this.ledger = new Ledger(this.#path, this.mayGoBack);
  }

  start(client = this.clients[this.#started % this.clients.length]): void {
    const name = `${this.name}-${++this.#started}`;
    const member = new Member(this.name, client, name, this.#path);
    this.members.push(member);
    member.onEnd = (code, stderr) => {
      if (code !== GAVE_UP) left.push(`${name} ended with ${code}: ${stderr.slice(-2000)}`);
      this.members.splice(this.members.indexOf(member), 1);
      this.start(client);
    };
  }

  /** The longest-serving goes. */
  async end(signal: NodeJS.Signals): Promise<void> {
    await this.members.shift()?.end(signal);
  }

  /** Null when all of them are members, and share everything; else how things stand. */
  async unsettled(): Promise<string | null> {
    const [described] = (await admin.describeGroups([this.name])).groups;
    this.ledger.update();
    const owned = this.members.map(({ name }) => this.ledger.owned(name));
    const all = owned.flat();
    if (
      described.state === "Stable" &&
      described.members.length === this.members.length &&
      all.length === PARTITIONS &&
      new Set(all).size === PARTITIONS
    ) {
      return null;
    }
    const { state, members } = described;
    return `${this.name}: ${state}, ${members.length} members, ${JSON.stringify(owned)}`;
  }

  async committed(): Promise<number[]> {
    const [told] = await admin.fetchOffsets({ groupId: this.name, topics: [topic] });
    const offsets = Array<number>(PARTITIONS).fill(0);
    for (const { partition, offset } of told.partitions) {
      offsets[partition] = Math.max(Number(offset), 0);
    }
    return offsets;
  }

  /** See the ledger. */
  get mayGoBack(): boolean {
    return this.clients.includes("platformatic");
  }

  /** What is committed was processed, and what was acknowledged is committed. */
  async check(): Promise<void> {
    this.ledger.update();
    const acknowledged = Array.from({ length: PARTITIONS }, (_, p) => this.ledger.acknowledged(p));
    const committed = await this.committed();
    this.ledger.update();
    for (const [partition, offset] of committed.entries()) {
      expect(offset, this.name).toBeLessThanOrEqual(this.ledger.contiguous(partition));
      const least = this.mayGoBack ? 0 : acknowledged[partition];
      expect(offset, this.name).toBeGreaterThanOrEqual(least);
    }
    expect(this.ledger.faults, this.name).toEqual([]);
  }
}

/** What was acknowledged: values by partition and offset. */
const sent = Array.from({ length: PARTITIONS }, () => new Map<number, string>());
let producing = true;

async function produce(): Promise<void> {
  for (let batch = 0; producing; batch++) {
    const messages = Array.from({ length: PARTITIONS * 4 }, (_, i) => {
      const value = `${batch}.${i}`;
      const partition = i % PARTITIONS;
      return { topic, partition, key: Buffer.from(`k${i % 12}`), value: Buffer.from(value) };
    });
    const { offsets } = await producer.send({ messages });
    for (const { partition, offset } of offsets ?? []) {
      const own = messages.filter((message) => message.partition === partition);
      own.forEach(({ value }, i) => sent[partition].set(Number(offset) + i, String(value)));
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

let killing = false;
function watchGateway(): void {
  void gateway.ended().then((code) => {
    if (!killing) left.push(`the gateway ended with ${code}: ${gateway.stderr()}`);
  });
}

async function killGateway(): Promise<void> {
  killing = true;
  await gateway.kill();
  killing = false;
  await gateway.start();
  watchGateway();
}

beforeAll(async () => {
  if (hasLibrdkafka) build();
  gateway = await startGateway();
  watchGateway();
  address = `127.0.0.1:${gateway.ports.kafka}`;
  const patient = { initialRetryTime: 50, maxRetryTime: 500, retries: 10 };
  admin = kafkajs(address, { retry: patient }).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }] });
  producer = new Producer({ ...options(address), idempotent: true, retries: 1000 });
}, 60_000);
afterAll(async () => {
  producing = false;
  killing = true;
  await producer?.close(true);
  await admin?.disconnect();
  await gateway?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test("members and the gateway die, and no group loses, skips or mixes up anything", async () => {
  const all = Object.entries(groups).map(([name, clients]) => new Group(name, clients));
  const settled = async (): Promise<void> => {
    const unsettled = async (): Promise<(string | null)[]> => {
      if (left.length > 0) return left;
      const told = await Promise.all(all.map((group) => group.unsettled()));
      return told.filter((group) => group !== null);
    };
    await expect.poll(unsettled, patiently).toEqual([]);
    for (const group of all) await group.check();
  };
  const each = (act: (group: Group) => unknown): Promise<unknown> => Promise.all(all.map(act));

  const history = produce();
  history.catch(() => {});
  try {
    await each((group) => group.clients.forEach(() => group.start()));
    await settled();

    await each((group) => group.end("SIGKILL"));
    await each((group) => group.start());
    await killGateway(); // in the middle of what the dead leave behind
    await settled();

    await each((group) => group.end("SIGTERM"));
    await each((group) => group.check());
    await killGateway();
    await each((group) => group.start());
    await settled();

    producing = false;
    await history;
    const ends = sent.map((values) => Math.max(...values.keys()) + 1);
    for (const group of all) {
      const reached = (): number[] => {
        group.ledger.update();
        return ends.map((_, partition) => group.ledger.contiguous(partition));
      };
      await expect.poll(reached, patiently).toEqual(ends);
      if (!group.mayGoBack) await expect.poll(() => group.committed(), patiently).toEqual(ends);
      await group.check();
      for (const [partition, values] of sent.entries()) {
        const processed = group.ledger.processed(partition);
        expect(Object.fromEntries(processed)).toEqual(Object.fromEntries(values));
      }
    }
    await each((group) => Promise.all(group.members.map((member) => member.end("SIGTERM"))));
    await each((group) => group.check());
    expect(left).toEqual([]);
  } finally {
    producing = false;
    await each((group) => Promise.all(group.members.map((member) => member.end("SIGKILL"))));
  }
}, 400_000);
