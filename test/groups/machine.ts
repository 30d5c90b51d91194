/** A group machine in virtual time: clients that join, and answers that are kept. */
import { Group } from "../../src/groups/group.ts";
import type {
  GroupSnapshot,
  JoinAnswer,
  JoinRequest,
  SyncAnswer,
  SyncRequest,
} from "../../src/groups/group-types.ts";
import { limits } from "../../src/model/limits.ts";

export const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
export const text = (b: Uint8Array): string => Buffer.from(b).toString();

/** A consumer's subscription, version 0. */
export function subscription(...topics: string[]): Uint8Array {
  const parts = [Buffer.from([0, 0]), int32(topics.length)];
  for (const topic of topics) {
    const name = Buffer.from(topic);
    parts.push(Buffer.from([name.length >> 8, name.length & 255]), name);
  }
  parts.push(int32(-1));
  return new Uint8Array(Buffer.concat(parts));
}

function int32(n: number): Buffer {
  const b = Buffer.alloc(4);
  b.writeInt32BE(n);
  return b;
}

export const SESSION_MS = 10_000;
export const REBALANCE_MS = 60_000;

/** Unique over all machines, as uuids are over restarts. */
let uuids = 0;

export class Machine {
  group: Group;
  now = 1000;
  joins = new Map<number, JoinAnswer>();
  syncs = new Map<number, SyncAnswer>();
  /** Every snapshot that was to be written, in order. */
  stored: GroupSnapshot[] = [];
  /** Those that the log has, as the machine was told. */
  durable: GroupSnapshot[] = [];
  /** Stores that the log has not answered, unless it answers at once. */
  storing: { store: number; snapshot: GroupSnapshot }[] = [];
  logAnswers = true;
  /** What the log answers. */
  logError = 0;
  #waiters = 0;

  constructor(group: Group = new Group("g")) {
    this.group = group;
  }

  /** Does what the machine asked for. */
  drive(): void {
    for (let actions = this.group.take(); actions.length > 0; actions = this.group.take()) {
      for (const a of actions) {
        if (a.kind === "joined") this.#once(this.joins, a.waiter, a.answer);
        else if (a.kind === "synced") this.#once(this.syncs, a.waiter, a.answer);
        else {
          this.stored.push(a.snapshot);
          this.storing.push(a);
          if (this.logAnswers) this.#answerStores(this.logError);
        }
      }
    }
  }

  #once<T>(answers: Map<number, T>, waiter: number, answer: T): void {
    if (answers.has(waiter)) throw new Error(`waiter ${waiter} is answered twice`);
    answers.set(waiter, answer);
  }

  /** The log has the oldest `count` snapshots that it was asked to write, or refuses them. */
  store(error = 0, count = Infinity): void {
    this.#answerStores(error, count);
    this.drive();
  }

  #answerStores(error: number, count = Infinity): void {
    for (const { store, snapshot } of this.storing.splice(0, count)) {
      if (error === 0) this.durable.push(snapshot);
      this.group.persisted(store, error, this.now);
    }
  }

  /** JoinGroups and SyncGroups that have no answer. */
  get unanswered(): number {
    return this.#waiters - this.joins.size - this.syncs.size;
  }

  /** Sends a JoinGroup; the number under which its answer will be. */
  join(request: Partial<JoinRequest> = {}): number {
    const waiter = ++this.#waiters;
    this.group.join(
      {
        memberId: "",
        groupInstanceId: null,
        clientId: "c",
        clientHost: "127.0.0.1",
        sessionTimeoutMs: SESSION_MS,
        rebalanceTimeoutMs: REBALANCE_MS,
        protocolType: "consumer",
        protocols: new Map([["range", subscription("t")]]),
        requiresMemberId: false,
        knowsSkipAssignment: true,
        uuid: `${++uuids}`,
        ...request,
      },
      waiter,
      this.now,
    );
    this.drive();
    return waiter;
  }

  sync(memberId: string, request: Partial<SyncRequest> = {}): number {
    const waiter = ++this.#waiters;
    const { generation: generationId } = this.group;
    const nothing = { groupInstanceId: null, protocolType: null, protocolName: null };
    const assignments = new Map<string, Uint8Array>();
    this.group.sync(
      { memberId, generationId, ...nothing, assignments, ...request },
      waiter,
      this.now,
    );
    this.drive();
    return waiter;
  }

  heartbeat(memberId: string, generation = this.group.generation): number {
    const error = this.group.heartbeat({ memberId, groupInstanceId: null }, generation, this.now);
    this.drive();
    return error;
  }

  leave(...memberIds: string[]): number[] {
    const identities = memberIds.map((memberId) => ({ memberId, groupInstanceId: null }));
    const errors = this.group.leave(identities, this.now);
    this.drive();
    return errors;
  }

  /** Time goes on, deadline by deadline. */
  pass(ms: number): void {
    const until = this.now + ms;
    while (this.group.deadline <= until) {
      this.now = Math.max(this.now, this.group.deadline);
      this.group.tick(this.now);
      this.drive();
    }
    this.now = until;
  }

  /** The first wait of an empty group. */
  passFirstWait(): void {
    this.pass(limits.groupInitialDelayMs);
  }

  joined(waiter: number): JoinAnswer {
    const answer = this.joins.get(waiter);
    if (answer === undefined) throw new Error(`JoinGroup ${waiter} still waits`);
    return answer;
  }

  synced(waiter: number): SyncAnswer {
    const answer = this.syncs.get(waiter);
    if (answer === undefined) throw new Error(`SyncGroup ${waiter} still waits`);
    return answer;
  }

  /** `count` members in a stable group, the leader first; each is assigned its own name. */
  stable(count: number, request: (i: number) => Partial<JoinRequest> = () => ({})): string[] {
    const waiters = Array.from({ length: count }, (_, i) => this.join(request(i)));
    while (waiters.some((w) => !this.joins.has(w))) this.passFirstWait();
    const answers = waiters.map((w) => this.joined(w));
    const leader = answers[0].leader;
    const ids = answers.map((a) => a.memberId);
    ids.sort((a, b) => Number(b === leader) - Number(a === leader));
    const assignments = new Map(ids.map((id) => [id, bytes(id)]));
    for (const id of ids) this.sync(id, id === leader ? { assignments } : {});
    return ids;
  }
}
