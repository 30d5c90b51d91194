/**
 * The fast way (one scan) against the slow way (JSON.parse, pick, write): a leading space makes
 * any ping take the slow one, and nothing else may differ.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PingReader } from "../../src/codec/ping.ts";
import { now, type Outcome, read } from "./read.ts";

const digits = fc.stringMatching(/^-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,18})?$/);
const oddNumber = fc.stringMatching(
  /^-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?$/,
);
const number = fc.oneof(
  { weight: 6, arbitrary: digits },
  { weight: 1, arbitrary: oddNumber },
  { weight: 2, arbitrary: fc.double({ noNaN: true, min: -181, max: 181 }).map(String) },
  { weight: 1, arbitrary: fc.constantFrom("0", "-0", "360", "90", "180.0", "1", "150") },
);
const word = fc.stringMatching(/^[ -~]{1,12}$/).map((s) => JSON.stringify(s));
const scalar = fc.oneof(number, word, fc.constantFrom("true", "false", "null", "[]", '{"a":[1]}'));
const name = fc.constantFrom(
  ..."speed heading accuracy altitude battery trip seq flags lng latitude bearing".split(" "),
  ..."timestamp x y fuel raw.speed tsDevice __proto__ constructor toString id".split(" "),
);
const time = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: now - 9e8, max: now + 1e8 }).map(String) },
  { weight: 1, arbitrary: fc.constantFrom("0", "1763726400", "1763726400000.5", '"2025-11-21"') },
);
const degrees = (max: number): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 5, arbitrary: fc.double({ noNaN: true, min: -max, max }).map(String) },
    {
      weight: 5,
      arbitrary: fc.integer({ min: -max * 1e6, max: max * 1e6 }).map((n) => `${n / 1e6}`),
    },
    { weight: 1, arbitrary: number },
  );
const inOrder = fc
  .tuple(
    fc.option(fc.double({ min: 0, max: 150, noNaN: true })),
    fc.option(fc.integer({ min: 0, max: 360 })),
    fc.option(fc.integer({ min: -1, max: 100 })),
    fc.option(fc.integer({ min: -600, max: 900 })),
    fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
    fc.option(word),
    fc.option(fc.nat()),
  )
  .map((values) =>
    "speed heading accuracy altitude battery trip seq"
      .split(" ")
      .map((field, i) => (values[i] === null ? "" : `,"${field}":${values[i]}`))
      .join(""),
  );
const extras = fc
  .array(fc.tuple(name, scalar), { maxLength: 4 })
  .map((pairs) => pairs.map(([key, value]) => `,"${key}":${value}`).join(""));
const ping = fc
  .tuple(fc.oneof(fc.constant('"d1"'), word), time, degrees(90), degrees(180), inOrder, extras)
  .map(
    ([id, ts, lat, lon, rest, more]) =>
      `{"id":${id},"ts":${ts},"lat":${lat},"lon":${lon}${rest}${more}}`,
  );

/** A few bytes changed, cut out or put in. */
const mutated = fc
  .tuple(
    ping,
    fc.array(fc.tuple(fc.nat(), fc.constantFrom(..." \"'{}[]:,\\0129.eE-+tu\u0000\u007f\u00e9")), {
      minLength: 1,
      maxLength: 3,
    }),
    fc.constantFrom("put", "cut", "set"),
  )
  .map(([text, changes, how]) => {
    let out = text;
    for (const [where, c] of changes) {
      const i = where % (out.length + 1);
      out = out.slice(0, i) + (how === "cut" ? "" : c) + out.slice(how === "put" ? i : i + 1);
    }
    return out;
  });

const reader = new PingReader();
const slow = (text: string): Outcome => read(` ${text}`, null, null, reader);
const fast = (text: string): Outcome => read(text, null, null, reader);

/** Equal as content: numbers by value (-0 is 0), members in any order. */
function comparable(result: Outcome): unknown {
  if ("reason" in result) return result;
  const { value, own: _own, lat, lon, ...rest } = result;
  const content = JSON.parse(value, (_key, item) => (item === 0 ? 0 : item));
  return { ...rest, lat: lat + 0, lon: lon + 0, value: content };
}

function agree(text: string): void {
  expect(comparable(fast(text))).toEqual(comparable(slow(text)));
}

describe("fast and slow agree on result, numbers and reason", () => {
  test("of pings", () => {
    let own = 0;
    fc.assert(
      fc.property(ping, (text) => {
        agree(text);
        const result = fast(text);
        if ("value" in result && result.own) {
          own++;
          const parsed = JSON.parse(text);
          expect(result).toMatchObject({ key: parsed.id, ts: parsed.ts });
          expect(result.lat).toBe(parsed.lat);
          expect(result.lon).toBe(parsed.lon);
        }
      }),
      { numRuns: 5000 },
    );
    expect(own).toBeGreaterThan(200);
  });
  test("of mutated pings", () => {
    fc.assert(fc.property(mutated, agree), { numRuns: 5000 });
  });
});

describe("what is stored is canonical", () => {
  const order = "id ts lat lon speed heading accuracy altitude battery trip seq".split(" ");
  test("fields in order, `flags` last, and reading it again changes nothing", () => {
    fc.assert(
      fc.property(fc.oneof(ping, mutated), (text) => {
        const first = fast(text);
        // A fix before March 1973 is taken for seconds, which is no longer so once it is stored.
        if ("reason" in first || first.ts < 1e11) return;
        // JavaScript puts names like "1" before all others, whatever was written.
        const names = Object.keys(JSON.parse(first.value)).filter((key) => !/^\d+$/.test(key));
        const known = order.filter((field) => names.includes(field));
        expect(names.slice(0, known.length)).toEqual(known);
        expect(names.indexOf("flags")).toBe(first.flags.length === 0 ? -1 : names.length - 1);
        const unflagged = first.value.replace(/,"flags":\[[a-z",]+\]\}$/, "}");
        for (const again of [fast(unflagged), slow(unflagged)]) {
          if ("reason" in again) throw new Error(again.reason);
          expect(again.value.replace(/,"flags":\[[a-z",]+\]\}$/, "}")).toBe(
            first.own && !again.own ? again.value : unflagged,
          );
        }
      }),
      { numRuns: 5000 },
    );
  });
});

test("random bytes are rejected, never thrown at", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc
      .tuple(ping, fc.uint8Array({ minLength: 1, maxLength: 4 }), fc.nat())
      .map(([text, put, i]) => {
        const out = Buffer.from(text);
        out.set(put, i % (out.length - put.length));
        return out;
      }),
  );
  fc.assert(
    fc.property(bytes, (body) => {
      const result = read(body, null, null, reader);
      if ("value" in result) expect(() => JSON.parse(result.value)).not.toThrow();
    }),
    { numRuns: 5000 },
  );
});

test("a ping cut anywhere is bad_json, whatever follows it in the buffer", () => {
  const text = `{"id":"d1","ts":${now},"lat":1.5,"lon":-2,"speed":1,"trip":"t","seq":1,"x":true}`;
  const bytes = Buffer.from(text);
  for (let end = 0; end < bytes.length; end++) {
    expect(reader.read(bytes, 0, end, now, null, null)).toBe(false);
    expect(reader.reason).toBe("bad_json");
  }
  expect(reader.read(bytes, 0, bytes.length, now, null, null)).toBe(true);
});
