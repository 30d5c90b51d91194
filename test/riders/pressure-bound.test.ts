import { expect, test } from "vitest";
import { limits } from "../../src/model/limits.ts";
import { Pressure, type Reader } from "../../src/riders/pressure.ts";

const MB = 1024 * 1024;

class Held implements Reader {
  readonly #pressure: Pressure;
  readonly ended: string[];
  readonly name: string;
  unsentBytes = 0;
  hasRead = false;
  notedBytes = 0;

  constructor(pressure: Pressure, name: string, ended: string[]) {
    this.#pressure = pressure;
    this.name = name;
    this.ended = ended;
  }

  get heldBytes(): number {
    return this.unsentBytes + this.notedBytes;
  }

  holds(bytes: number): this {
    this.#pressure.unsent(this, bytes);
    return this;
  }

  closeSlow(now: boolean): void {
    this.ended.push(`${this.name}${now ? " now" : ""}`);
    this.#pressure.unsent(this, 0);
  }
}

function readers(...names: string[]): { pressure: Pressure; ended: string[]; all: Held[] } {
  const pressure = new Pressure();
  const ended: string[] = [];
  return { pressure, ended, all: names.map((name) => new Held(pressure, name, ended)) };
}

test("when all hold too much, those with the most go, until a quarter is free", () => {
  const { pressure, ended, all } = readers("a", "b", "c", "d");
  const most = limits.ridersUnsentBytesMax;
  for (const [i, reader] of all.entries()) reader.holds((most * (i + 1)) / 10);
  expect(ended).toEqual([]);
  all[0].holds(most / 10 + MB);
  expect(ended).toEqual(["d now"]);
  expect(pressure.unsentBytes).toBeLessThanOrEqual(0.75 * most);
});

test("what is remembered of drivers counts, too", () => {
  const { pressure, ended, all } = readers("a", "b");
  all[0].holds(MB);
  all[1].holds(MB).notedBytes = limits.ridersUnsentBytesMax;
  pressure.sweep(0);
  expect(ended).toEqual(["b now"]);
});

test("who reads nothing for its grace goes; any progress begins it anew", () => {
  const { pressure, ended, all } = readers("frozen", "slow", "done");
  for (const reader of all) reader.holds(MB);
  all[2].holds(0);
  for (let second = 0; second <= limits.riderSlowMsMax / 1000; second++) {
    expect(ended).toEqual([]);
    pressure.sweep(second * 1000);
    if (second % 5 === 0) all[1].holds(all[1].unsentBytes - 1);
  }
  expect(ended).toEqual(["frozen"]);
});

test("an answer on top is no progress", () => {
  const { pressure, ended, all } = readers("frozen");
  all[0].holds(MB);
  for (let second = 0; second <= limits.riderSlowMsMax / 1000; second++) {
    pressure.sweep(second * 1000);
    all[0].holds(all[0].unsentBytes + 1);
  }
  expect(ended).toEqual(["frozen"]);
});
