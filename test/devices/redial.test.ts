import { expect, test } from "vitest";
import { backoffMs, Gate } from "../../devices/redial.ts";

test("the delay doubles up to five seconds and is spread by half", () => {
  const longest = [0, 1, 2, 3, 4, 5, 50].map((failures) => Math.round(backoffMs(failures, 1)));
  expect(longest).toEqual([250, 500, 1000, 2000, 4000, 5000, 5000]);
  expect(backoffMs(50, 0)).toBe(2500);
});

test("the gate lets so many in at once, in order, each leaving once", () => {
  const gate = new Gate(2);
  const inside: number[] = [];
  const leave: (() => void)[] = [];
  for (let k = 0; k < 5; k++) {
    gate.pass((out) => {
      inside.push(k);
      leave[k] = out;
    });
  }
  expect(inside).toEqual([0, 1]);
  leave[1]();
  leave[1]();
  expect(inside).toEqual([0, 1, 2]);
  leave[0]();
  leave[2]();
  expect(inside).toEqual([0, 1, 2, 3, 4]);
  leave[3]();
  leave[4]();
  gate.pass(() => inside.push(5));
  gate.pass(() => inside.push(6));
  gate.pass(() => inside.push(7));
  expect(inside.slice(5)).toEqual([5, 6]);
});
