import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Frame } from "../../src/codec/frame.ts";
import { JsonSkipper } from "../../src/codec/skip.ts";
import { limits } from "../../src/model/limits.ts";
import { now, read } from "./read.ts";

const frame = new Frame();

/** The items of a body that lies between other bytes. */
function split(body: string | Uint8Array, ndjson = false): string[] | string {
  const bytes = Buffer.concat([Buffer.from('[{"'), Buffer.from(body), Buffer.from(",{}]\n{}")]);
  const fault = frame.split(bytes, 3, bytes.length - 7, ndjson);
  if (fault !== null) return fault;
  return Array.from({ length: frame.count }, (_, i) =>
    bytes.toString("utf8", frame.starts[i], frame.ends[i]),
  );
}

const a = '{"id":"a","lat":1.5e-3,"x":"[{,\\"\\\\"}';
const b = '{"id":"b","y":[[],{},[{"z":[null,true,false]}]]}';
const deep = "[".repeat(5000) + "]".repeat(5000);

describe("items of a body", () => {
  const rows: [what: string, body: string, ndjson: boolean, items: string[]][] = [
    ["one ping", a, false, [a]],
    ["one ping, spaces around", ` ${a}\r\n`, false, [a]],
    ["an array", `[${a},${b}]`, false, [a, b]],
    ["an array with spaces", ` [ ${a} ,\n${b}\t] `, false, [a, b]],
    ["an empty array", "[ ]", false, []],
    [
      "items that are no pings",
      `[1,"x",null,[${a}],${a}]`,
      false,
      ["1", '"x"', "null", `[${a}]`, a],
    ],
    ["an item too deep leaves its neighbours", `[${a},${deep},${b}]`, false, [a, deep, b]],
    ["an array, NDJSON allowed", `[${a},\n${b}]`, true, [a, b]],
    ["NDJSON", `${a}\n${b}\n`, true, [a, b]],
    ["NDJSON with CRLF and blank lines", `\r\n${a}\r\n \r\n${b}`, true, [a, b]],
    ["NDJSON with a bad line", `{"id":\n${b}\nx`, true, ['{"id":', b, "x"]],
    ["NDJSON with an array as a line", `[${a}]\n${b}`, true, [`[${a}]`, b]],
    ["a pretty ping, NDJSON allowed", '{\n "id": "a"\n}', true, ['{\n "id": "a"\n}']],
    ["NDJSON where it may not come", `${a}\n${b}`, false, [`${a}\n${b}`]],
    ["lines that are no JSON", "<html>\n<body>\nno", true, ["<html>\n<body>\nno"]],
    ["no JSON", "hello", false, ["hello"]],
    ["empty", "", false, [""]],
    ["blank", " \n ", true, [""]],
    ["an array cut short", `[${a},`, false, [`[${a},`]],
    ["an array with a comma too many", `[${a},]`, false, [`[${a},]`]],
    ["an array with bytes behind it", `[${a}]x`, false, [`[${a}]x`]],
    ["an array with a bad item", `[${a},{"x":NaN}]`, false, [`[${a},{"x":NaN}]`]],
    ["an array with a bad string", `[${a},{"x":"\n"}]`, false, [`[${a},{"x":"\n"}]`]],
    ["an array not closed", `[${a}`, false, [`[${a}`]],
    ["[", "[", false, ["["]],
  ];
  test.each(rows)("%s", (_what, body, ndjson, items) => {
    expect(split(body, ndjson)).toEqual(items);
  });
});

describe("limits", () => {
  test("pings", () => {
    const most = Array.from({ length: limits.framePingsMax }, () => "{}");
    expect(split(`[${most.join()}]`)).toHaveLength(limits.framePingsMax);
    expect(split(most.join("\n"), true)).toHaveLength(limits.framePingsMax);
    expect(split(`[${most.join()},1]`)).toBe("too_large");
    expect(split(`${most.join("\n")}\n1`, true)).toBe("too_large");
    expect(split(`[${"1,".repeat(100_000)}1]`)).toBe("too_large");
  });
  test("bytes", () => {
    expect(split(" ".repeat(limits.frameBytesMax))).toEqual([""]);
    expect(split(" ".repeat(limits.frameBytesMax + 1))).toBe("too_large");
    const brackets = "[".repeat(limits.frameBytesMax);
    expect(split(brackets)).toEqual([brackets]);
    expect(read(brackets)).toEqual({ reason: "bad_json" });
  });
});

test("one bad ping of a hundred: the others are read", () => {
  const ping = (i: number): string =>
    i === 40 ? '{"id":"d","lat":"x"}' : `{"id":"d","ts":${now},"lat":${i / 10},"lon":1}`;
  const items = split(`[${Array.from({ length: 100 }, (_, i) => ping(i)).join()}]`) as string[];
  const results = items.map((item) => read(item));
  expect(results.filter((result) => "value" in result)).toHaveLength(99);
  expect(results[40]).toEqual({ reason: "bad_position" });
});

test("bytes that are not UTF-8 spoil their own ping only", () => {
  const good = `{"id":"d","ts":${now},"lat":1,"lon":1}`;
  const body = Buffer.from(`[${good},{"id":"\xff"},${good}]`, "latin1");
  expect(split(body)).toHaveLength(3);
  expect(read('{"id":"\xff"}')).toEqual({ reason: "bad_position" });
  expect(read(Buffer.from('{"id":"\xff"}', "latin1"))).toEqual({ reason: "bad_json" });
});

describe("JsonSkipper takes what JSON.parse takes", () => {
  const skipper = new JsonSkipper();
  const agree = (text: string): void => {
    let isJson = true;
    try {
      JSON.parse(text);
    } catch {
      isJson = false;
    }
    const bytes = Buffer.from(text.trim());
    const isSkipped = skipper.skip(bytes, 0, bytes.length) === bytes.length;
    if (isSkipped !== isJson) throw new Error(`${text}: JSON.parse ${isJson}, skip ${isSkipped}`);
  };
  const json = fc.oneof(
    fc.json({ maxDepth: 6 }),
    fc.jsonValue().map((value) => JSON.stringify(value, null, 1)),
  );
  test("of JSON", () => {
    fc.assert(fc.property(json, agree), { numRuns: 2000 });
  });
  test("of JSON with bytes changed", () => {
    const place = fc.tuple(fc.nat(), fc.constantFrom(...' "{}[]:,\\0129.eE-+tufalsn\u0000é'));
    fc.assert(
      fc.property(json, fc.array(place, { minLength: 1, maxLength: 4 }), (text, places) => {
        const characters = [...text];
        for (const [where, c] of places) characters[where % characters.length] = c;
        agree(characters.join("").replace(/[^\x20-\x7e\n\r\t\0é]/g, ""));
      }),
      { numRuns: 5000 },
    );
  });
  test("of characters that JSON is made of", () => {
    const soup = fc.string({ unit: fc.constantFrom(...'[]{}",:1.e-0 \\u tr'), maxLength: 8 });
    fc.assert(fc.property(soup, agree), { numRuns: 10_000 });
  });
});

test("a body becomes the same pings whatever lies around it, and nothing is thrown", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.boolean(), (body, ndjson) => {
      const alone = frame.split(body, 0, body.length, ndjson);
      const count = frame.count;
      const items = split(body, ndjson);
      expect(alone ?? count).toBe(typeof items === "string" ? items : items.length);
    }),
    { numRuns: 3000 },
  );
});
