import fc from "fast-check";
import { expect, test } from "vitest";
import { LineSplitter } from "../../src/cli/lines.ts";

function split(chunks: Buffer[], lineBytesMax = 1000): string[] {
  const splitter = new LineSplitter(lineBytesMax);
  const lines = chunks.flatMap((chunk) => [...splitter.push(chunk)]);
  const last = splitter.end();
  if (last !== null) lines.push(last);
  return lines.map(String);
}

test("the lines are the same however the bytes arrive", () => {
  const cuts = fc.array(fc.nat(40), { maxLength: 6 });
  const input = fc.stringMatching(/^[ab\né]{0,40}$/);
  fc.assert(
    fc.property(input, cuts, (text, places) => {
      const bytes = Buffer.from(text);
      const sorted = [0, ...places, bytes.length].toSorted((a, b) => a - b);
      const chunks = sorted.slice(1).map((end, i) => bytes.subarray(sorted[i], end));
      const expected = text.split("\n");
      if (expected.at(-1) === "") expected.pop();
      expect(split(chunks)).toEqual(expected);
    }),
  );
});

test.each([
  ["", []],
  ["\n", [""]],
  ["a", ["a"]],
  ["a\n", ["a"]],
  ["a\n\nb", ["a", "", "b"]],
  ["a\r\n", ["a\r"]],
])("%j has the lines %j", (text, lines) => {
  expect(split([Buffer.from(text)])).toEqual(lines);
});

test("a line without end is refused before it fills the memory", () => {
  const part = Buffer.alloc(600, "x");
  expect(() => split([part, part])).toThrow("longer than 1000 bytes");
  expect(split([part, Buffer.from("\n"), part])).toHaveLength(2);
});
