import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Forwarding, type Standing } from "../../src/uplink/forwarding.ts";

const SEQUENCES = 2 ** 31;
const sequenceAfter = (sequence: number, records: number): number =>
  (sequence + records) % SEQUENCES;

type Batch = { base: number; end: number };
type Kept = { first: number; last: number; offset: number };

/** A partition as Kafka keeps it: records by their offsets in the gateway's log. */
class Broker {
  records: number[] = [];
  #producer: Kept[] | null = null;

  take(sequence: number, { base, end }: Batch): { errorCode: number; baseOffset: number } {
    const last = sequenceAfter(sequence, end - base - 1);
    const known = this.#producer;
    if (known !== null) {
      const same = known.find((kept) => kept.first === sequence && kept.last === last);
      if (same !== undefined) return { errorCode: 0, baseOffset: same.offset };
      const expected = sequenceAfter((known.at(-1) as Kept).last, 1);
      if (sequence !== expected) return { errorCode: 45, baseOffset: -1 };
    }
    const offset = this.records.length;
    for (let o = base; o < end; o++) this.records.push(o);
    this.#producer = [...(known ?? []).slice(-4), { first: sequence, last, offset }];
    return { errorCode: 0, baseOffset: offset };
  }

  get lastSequence(): number | null {
    return this.#producer?.at(-1)?.last ?? null;
  }

  expire(): void {
    this.#producer = null;
  }
}

type Step =
  | "append"
  | "send"
  | "deliver"
  | "answer"
  | "refuse"
  | "time out"
  | "lose"
  | "save"
  | "kill"
  | "lose end";

/** A gateway's log of one partition, its machine, and a line to the broker that may break. */
class Simulation {
  readonly broker = new Broker();
  #log: Batch[] = [];
  #end: number;
  #machine: Forwarding;
  #kept: Standing;
  /** Sent, and not there yet. */
  #line: { base: number; sequence: number; batch: Batch }[] = [];
  /** There, and not answered yet. */
  #answers: { base: number; errorCode: number; baseOffset: number }[] = [];
  /** What was said to be there, by offset here: its offset there. */
  readonly mirrored = new Map<number, number>();
  #salt = 0;

  constructor(start: number) {
    this.#end = start;
    this.#kept = { origin: start, acked: start, cut: start };
    this.#machine = new Forwarding(this.#kept);
  }

  step(step: Step, size: number): void {
    switch (step) {
      case "append":
        this.#log.push({ base: this.#end, end: this.#end + size });
        this.#end += size;
        return;
      case "send":
        return this.#send(size);
      case "deliver":
        return this.#deliver();
      case "answer":
        return this.#answer(this.#answers.shift());
      case "refuse": {
        // of a leader that has moved
        const sent = this.#line.shift();
        if (sent !== undefined) this.#answers.push({ ...sent, errorCode: 6, baseOffset: -1 });
        return;
      }
      case "time out": {
        // it is there, but its replicas were too slow
        const sent = this.#line.shift();
        if (sent === undefined) return;
        const taken = this.broker.take(sent.sequence, sent.batch);
        const errorCode = taken.errorCode === 0 ? 7 : taken.errorCode;
        this.#answers.push({ base: sent.base, errorCode, baseOffset: -1 });
        return;
      }
      case "lose":
        return this.#breakLine();
      case "save":
        this.#kept = this.#machine.standing;
        return;
      case "kill":
        return this.#restart();
      case "lose end":
        // of what was not flushed: only what is acknowledged nowhere but in the cluster
        if (this.#log.length > 0 && this.#log.length > size) this.#log.splice(-size);
        else this.#log = [];
        this.#end = this.#log.at(-1)?.end ?? this.#kept.acked;
        this.#salt++;
        return this.#restart();
    }
  }

  get salt(): number {
    return this.#salt;
  }

  /** So many batches as one, where it may be. */
  #send(count: number): void {
    const machine = this.#machine;
    if (!machine.isSure && machine.inFlight === 0) {
      const { changed } = machine.told(this.broker.lastSequence, this.#end);
      if (changed) this.#kept = machine.standing;
      return;
    }
    if (!machine.maySend) return;
    const batch = this.#log.find(({ base }) => base >= machine.next);
    if (batch === undefined) return;
    if (batch.base !== machine.next) {
      if (machine.inFlight > 0) return;
      machine.goOnAt(batch.base);
      this.#kept = machine.standing;
    }
    const { base } = batch;
    const at = this.#log.indexOf(batch);
    let { end } = batch;
    // what was one batch before is one again
    const most = machine.boundary === Infinity ? count : Infinity;
    for (const next of this.#log.slice(at + 1, at + most)) {
      if (next.base === end && next.end <= machine.boundary) end = next.end;
    }
    this.#line.push({ base, batch: { base, end }, sequence: machine.sent(end) });
  }

  #deliver(): void {
    const sent = this.#line.shift();
    if (sent === undefined) return;
    this.#answers.push({ base: sent.base, ...this.broker.take(sent.sequence, sent.batch) });
  }

  #answer(answer?: { base: number; errorCode: number; baseOffset: number }): void {
    if (answer === undefined) return;
    const { acked } = this.#machine.answered(answer.base, answer);
    for (const { to, shift } of acked) {
      if (shift === null) continue;
      for (const { base, end } of this.#log) {
        if (end <= to && base >= answer.base) this.mirrored.set(base, base + shift);
      }
    }
  }

  /** Some of what is on its way arrives; no answer does. */
  #breakLine(): void {
    const lost = [...this.#answers.map(({ base }) => base), ...this.#line.map(({ base }) => base)];
    this.#line = [];
    this.#answers = [];
    for (const base of lost) this.#answer({ base, errorCode: -2, baseOffset: -1 });
  }

  #restart(): void {
    this.#line = [];
    this.#answers = [];
    const { origin, acked, cut } = this.#kept;
    const end = this.#end;
    this.#kept = { origin, acked: Math.min(acked, end), cut: Math.min(cut ?? end, end) };
    this.#machine = new Forwarding(this.#kept);
  }

  /** The line holds from now on. */
  settle(): void {
    for (let n = 0; n < this.#log.length * 4 + 40; n++) {
      this.#send(1 + (n % 3));
      this.#deliver();
      this.#answer(this.#answers.shift());
    }
  }

  get logged(): number[] {
    return this.#log.flatMap(({ base, end }) =>
      Array.from({ length: end - base }, (_, i) => base + i),
    );
  }
}

const steps = (kinds: Step[]) =>
  fc.array(fc.tuple(fc.constantFrom(...kinds), fc.integer({ min: 1, max: 3 })), {
    minLength: 20,
    maxLength: 400,
  });
const usual: Step[] = ["append", "append", "send", "send", "send", "deliver", "deliver", "answer"];
const trouble: Step[] = ["answer", "refuse", "time out", "lose", "save", "kill"];
/** Offsets at which sequences begin anew are as good as any. */
const starts = fc.constantFrom(0, 7, SEQUENCES - 5, 2 ** 40);

describe("a partition's batches are in the cluster once and in order", () => {
  test("whatever the line, the leader and kill -9 do", () => {
    fc.assert(
      fc.property(starts, steps([...usual, ...trouble]), (start, all) => {
        const simulation = new Simulation(start);
        for (const [step, size] of all) simulation.step(step, size);
        simulation.settle();
        const { broker, logged, mirrored } = simulation;
        expect(broker.records).toEqual(logged);
        for (const [here, there] of mirrored) expect(broker.records[there]).toBe(here);
      }),
      { numRuns: 2000 },
    );
  });

  test("a log that lost its end goes on behind what the cluster has of it", () => {
    fc.assert(
      fc.property(starts, steps([...usual, ...trouble, "lose end"]), (start, all) => {
        const simulation = new Simulation(start);
        for (const [step, size] of all) simulation.step(step, size);
        simulation.settle();
        // every record that the log has is there, the newest of an offset last
        const { broker, logged } = simulation;
        const last = new Map(broker.records.map((here, there) => [here, there]));
        const places = logged.map((here) => last.get(here) ?? -1);
        expect(places).not.toContain(-1);
        expect(places.toSorted((a, b) => a - b)).toEqual(places);
      }),
      { numRuns: 2000 },
    );
  });
});

test("a cluster that has forgotten the producer gets what it did not confirm once more", () => {
  const machine = new Forwarding({ origin: 0, acked: 10, cut: 40 });
  machine.told(null, 100);
  expect(machine.next).toBe(10);
  expect(machine.maySend).toBe(true);
  expect(machine.sent(20)).toBe(0);
  // it would take a later batch without the first
  expect(machine.maySend).toBe(false);
  machine.answered(10, { errorCode: 0, baseOffset: 100 });
  expect(machine.maySend).toBe(true);
  expect(machine.standing).toEqual({ origin: 10, acked: 20, cut: null });
});

test("a batch that was lost while a later one got there is sent with a new sequence", () => {
  const machine = new Forwarding({ origin: 0, acked: 0, cut: null });
  machine.told(9, 100);
  expect([machine.next, machine.sent(15), machine.sent(20)]).toEqual([10, 10, 15]);
  expect(machine.answered(10, { errorCode: 7, baseOffset: -1 }).verdict).toBeNull();
  // it may be there: the cluster would know it
  expect(machine.answered(15, { errorCode: 0, baseOffset: 3 }).verdict).toBe("again");
  expect(machine.sent(15)).toBe(10);
  expect(machine.answered(10, { errorCode: 45, baseOffset: -1 }).verdict).toBe("ask");
  machine.told(19, 100);
  expect([machine.next, machine.sent(15)]).toEqual([10, 20]);
});

test("a cluster that has more than was ever sent heard another under this producer id", () => {
  const machine = new Forwarding({ origin: 0, acked: 10, cut: null });
  expect(machine.told(29, 20)).toMatchObject({ acked: [], isForeign: true });
  expect([machine.isSure, machine.acked]).toEqual([false, 10]);
  machine.renew();
  machine.told(null, 20);
  expect([machine.next, machine.sent(20)]).toEqual([10, 0]);
});

test.each([
  [3, "again"],
  [6, "again"],
  [-2, "again"],
  [45, "ask"],
  [59, "ask"],
  [47, "fenced"],
  [10, "refused"],
])("error %i of the first in flight: %s", (errorCode, verdict) => {
  const machine = new Forwarding({ origin: 0, acked: 0, cut: null });
  machine.told(9, 100);
  machine.sent(12);
  machine.sent(14);
  expect(machine.answered(10, { errorCode, baseOffset: -1 })).toEqual({ acked: [], verdict: null });
  expect(machine.maySend).toBe(false);
  expect(machine.answered(12, { errorCode: 45, baseOffset: -1 }).verdict).toBe(verdict);
  expect([machine.inFlight, machine.next]).toEqual([0, 10]);
});
