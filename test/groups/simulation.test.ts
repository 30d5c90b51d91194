/** Whole lives of groups in virtual time: clients that obey the protocol, and that fail. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { GroupSnapshot } from "../../src/groups/group-types.ts";
import { Group } from "../../src/groups/group.ts";
import { E } from "../../src/wire/errors.ts";
import { bytes, Machine, SESSION_MS, subscription, text } from "./machine.ts";

const PARTITIONS = 6;
const HEARTBEAT_MS = 2000;

/** Every generation's owners, as members were told: partition → member. */
type Owned = Map<number, Map<string, string>>;

class Client {
  readonly sim: Simulation;
  readonly instance: string | null;
  readonly knowsMemberIds: boolean;
  memberId = "";
  generation = -1;
  /** What it waits for. */
  join: number | null = null;
  sync: number | null = null;
  owns: string[] = [];
  alive = true;
  topics = ["t"];
  #beatAt = 0;

  constructor(sim: Simulation, instance: string | null, knowsMemberIds: boolean) {
    this.sim = sim;
    this.instance = instance;
    this.knowsMemberIds = knowsMemberIds;
  }

  get settled(): boolean {
    return this.join === null && this.sync === null && this.generation >= 0;
  }

  /** The process is gone; what it waited for is not read any more. */
  crash(): void {
    this.alive = false;
    this.join = this.sync = null;
  }

  restart(): void {
    this.crash();
    Object.assign(this, { alive: true, memberId: "", generation: -1, owns: [] });
  }

  /** The connection broke: it asks again, as the member it is. */
  reconnect(): void {
    this.join = this.sync = null;
    this.generation = -1;
  }

  leave(): void {
    if (this.memberId !== "") this.sim.m.leave(this.memberId);
    this.crash();
  }

  step(): void {
    const { m } = this.sim;
    if (!this.alive) return;
    if (this.join !== null) this.#joined();
    else if (this.sync !== null) this.#synced();
    else if (this.generation < 0) this.#rejoin();
    else if (m.now >= this.#beatAt) {
      this.#beatAt = m.now + HEARTBEAT_MS;
      const identity = { memberId: this.memberId, groupInstanceId: this.instance };
      this.#failed(m.group.heartbeat(identity, this.generation, m.now));
      m.drive();
    }
  }

  #rejoin(): void {
    this.owns = [];
    this.join = this.sim.m.join({
      memberId: this.memberId,
      groupInstanceId: this.instance,
      requiresMemberId: this.knowsMemberIds,
      rebalanceTimeoutMs: 15_000,
      protocols: new Map([["range", subscription(...this.topics)]]),
    });
  }

  #joined(): void {
    const { m } = this.sim;
    const answer = m.joins.get(this.join as number);
    if (answer === undefined) return;
    this.join = null;
    if (answer.errorCode === E.MEMBER_ID_REQUIRED) {
      this.memberId = answer.memberId;
      return;
    }
    if (this.#failed(answer.errorCode)) return;
    this.memberId = answer.memberId;
    this.generation = answer.generationId;
    this.sim.generationIs(answer.generationId);
    const assignments = new Map<string, Uint8Array>();
    if (answer.leader === this.memberId && !answer.skipAssignment) {
      const ids = answer.members.map((x) => x.memberId);
      const share = (i: number) =>
        Array.from({ length: PARTITIONS }, (_, p) => `t/${p}`).filter(
          (_, p) => p % ids.length === i,
        );
      ids.forEach((id, i) => assignments.set(id, bytes(share(i).join(" "))));
    }
    this.sync = m.sync(this.memberId, {
      generationId: this.generation,
      groupInstanceId: this.instance,
      assignments,
    });
  }

  #synced(): void {
    const answer = this.sim.m.syncs.get(this.sync as number);
    if (answer === undefined) return;
    this.sync = null;
    if (this.#failed(answer.errorCode)) return;
    this.owns = text(answer.assignment).split(" ").filter(Boolean);
    // what it was told survives a restart
    const isThis = (s: GroupSnapshot) => s.generation === this.generation;
    const written = this.sim.m.durable.findLast(isThis)?.members;
    const stored = written?.find((x) => x.memberId === this.memberId)?.assignment;
    expect(stored).toEqual(answer.assignment);
    const place = this.instance ?? this.memberId;
    for (const p of this.owns) this.sim.owns(this.generation, p, place);
  }

  /** Every client's own reaction to an error. */
  #failed(error: number): boolean {
    if (error === E.NONE) return false;
    this.generation = -1;
    if (error === E.UNKNOWN_MEMBER_ID) this.memberId = "";
    // a later process took its instance id
    if (error === E.FENCED_INSTANCE_ID) this.crash();
    return true;
  }
}

/** The log answers when it is told to. */
const newMachine = (group: Group): Machine =>
  Object.assign(new Machine(group), { logAnswers: false });

class Simulation {
  m = newMachine(new Group("g"));
  readonly clients: Client[] = [];
  readonly owners: Owned = new Map();
  #newest = 0;

  constructor(count: number, statics: number) {
    for (let i = 0; i < count; i++) {
      this.clients.push(new Client(this, i < statics ? `i${i}` : null, i % 2 === 0));
    }
  }

  generationIs(generation: number): void {
    expect(generation).toBeGreaterThanOrEqual(this.#newest);
    expect(generation).toBe(this.m.group.generation);
    this.#newest = generation;
  }

  owns(generation: number, partition: string, member: string): void {
    let owners = this.owners.get(generation);
    if (owners === undefined) this.owners.set(generation, (owners = new Map()));
    const owner = owners.get(partition);
    if (owner !== undefined && owner !== member) {
      throw new Error(`${partition} belongs to ${owner} and ${member} in ${generation}`);
    }
    owners.set(partition, member);
  }

  /** kill -9: what the log has is all there is. */
  restart(): void {
    const { now, durable } = this.m;
    const snapshot = durable.at(-1);
    const group = snapshot === undefined ? new Group("g") : Group.restore("g", snapshot, now);
    this.m = Object.assign(newMachine(group), { now, durable });
    this.#newest = group.generation;
    for (const c of this.clients) if (c.join !== null || c.sync !== null) c.reconnect();
  }

  run(ms: number, each = 100): void {
    for (let t = 0; t < ms; t += each) {
      for (const c of this.clients) c.step();
      this.m.store();
      this.m.pass(each);
    }
  }

  /** Nobody waits, all that live are in one generation, and together they own everything. */
  expectSettled(): void {
    const alive = this.clients.filter((c) => c.alive);
    const { group } = this.m;
    expect(alive.map((c) => [c.settled, c.generation])).toEqual(
      alive.map(() => [true, group.generation]),
    );
    expect(group.state).toBe(alive.length === 0 ? "Empty" : "Stable");
    expect([...group.members].map((x) => x.memberId).sort()).toEqual(
      alive.map((c) => c.memberId).sort(),
    );
    const owned = alive.flatMap((c) => c.owns).sort();
    if (alive.length > 0) expect(owned).toHaveLength(PARTITIONS);
    expect(new Set(owned).size).toBe(owned.length);
    if (alive.length > 0) return;
    expect(group.members.bytes).toBe(0);
    expect(this.m.unanswered).toBe(0);
    expect(group.deadline).toBe(Infinity);
  }
}

type Event = { kind: string; who: number; ms: number };
const kinds = (weight: number, ...names: string[]) => ({
  weight,
  arbitrary: fc.record({
    kind: fc.constantFrom(...names),
    who: fc.nat(7),
    ms: fc.nat(4000),
  }),
});
const events = fc.array(
  fc.oneof(
    kinds(30, "step"),
    kinds(4, "all step"),
    kinds(6, "stored"),
    kinds(3, "pass", "run"),
    kinds(2, "crash", "restart", "reconnect", "leave", "subscribe"),
    kinds(1, "refused", "kill"),
  ),
  { minLength: 20, maxLength: 250, size: "max" },
);

function happens(sim: Simulation, { kind, who, ms }: Event): void {
  const client = sim.clients[who % sim.clients.length];
  if (kind === "step") client.step();
  else if (kind === "all step") for (const c of sim.clients) c.step();
  else if (kind === "stored") sim.m.store(E.NONE, 1);
  else if (kind === "refused") sim.m.store(E.COORDINATOR_NOT_AVAILABLE, 1);
  else if (kind === "pass") sim.m.pass(ms);
  else if (kind === "run") sim.run(ms, 500);
  else if (kind === "crash") client.crash();
  else if (kind === "restart") client.restart();
  else if (kind === "reconnect") client.reconnect();
  else if (kind === "leave") client.leave();
  else if (kind === "kill") sim.restart();
  else {
    client.topics = client.topics.length === 1 ? ["t", "u"] : ["t"];
    client.reconnect();
  }
}

test("whatever happens, groups settle and no partition has two owners", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.nat(4), events, (count, statics, all) => {
      const sim = new Simulation(count, statics);
      for (const event of all) happens(sim, event);
      // sessions of the dead end, and rebalances that wait for them
      sim.run(5 * SESSION_MS, 500);
      sim.expectSettled();
      for (const c of sim.clients) c.leave();
      sim.run(SESSION_MS + 15_000, 500);
      sim.expectSettled();
    }),
    { numRuns: 300 },
  );
});

test("a thousand that join at once settle in a few generations", () => {
  const sim = new Simulation(1000, 0);
  sim.run(30_000, 200);
  const { group } = sim.m;
  expect(group.state).toBe("Stable");
  expect(group.members.size).toBe(1000);
  expect(sim.clients.every((c) => c.settled && c.generation === group.generation)).toBe(true);
  expect(group.generation).toBeLessThanOrEqual(3);
});

test("a thousand that come one after the other over a minute settle", () => {
  const sim = new Simulation(300, 0);
  const later = sim.clients.splice(0);
  while (later.length > 0) {
    sim.clients.push(...later.splice(0, 3));
    sim.run(600, 200);
  }
  sim.run(30_000, 200);
  expect(sim.clients.every((c) => c.settled)).toBe(true);
  expect(sim.m.group.state).toBe("Stable");
});
