import { describe, expect, test } from "vitest";
import { handlers } from "../../src/kafka/apis.ts";
import { failure } from "../../src/kafka/failure.ts";
import { readWhole } from "../../src/wire/api.ts";
import { E } from "../../src/wire/errors.ts";
import { Reader } from "../../src/wire/reader.ts";
import type { Fields } from "../../src/wire/schema.ts";
import { Writer } from "../../src/wire/writer.ts";
import { renamed, sample } from "../wire/samples.ts";

const messages = [...handlers.values()].flatMap(({ api }) =>
  Array.from({ length: api.versions.to - api.versions.from + 1 }, (_, i) => ({
    title: `${api.name} ${api.versions.from + i}`,
    api,
    version: api.versions.from + i,
  })),
);

/** All error codes, and what else says which item they are for. */
function codesIn(value: unknown, codes: unknown[] = []): unknown[] {
  if (Array.isArray(value)) for (const item of value) codesIn(item, codes);
  else if (value !== null && typeof value === "object") {
    if ("errorCode" in value) codes.push(value.errorCode);
    for (const inner of Object.values(value)) codesIn(inner, codes);
  }
  return codes;
}

test.each(messages)("$title: a fault has a place in its answer", ({ api, version }) => {
  const request = sample(api.requestFields, version);
  const fields = api.responseFields as Fields;
  const answer = failure(fields, version, request, E.UNKNOWN_SERVER_ERROR);
  if (answer === null) throw new Error("no place");
  const w = new Writer();
  api.response(version).write(w, answer);
  const read = readWhole(api.response(version), new Reader(w.bytes));
  expect(new Set(codesIn(renamed(fields, version, read, {}, Number)))).toEqual(
    new Set([E.UNKNOWN_SERVER_ERROR]),
  );
});

describe("items are answered by their names", () => {
  const answerTo = (key: number, version: number): unknown => {
    const { api } = handlers.get(key) as { api: (typeof messages)[number]["api"] };
    return failure(api.responseFields, version, sample(api.requestFields, version), -1);
  };

  test("partitions of topics", () => {
    expect(answerTo(0, 7)).toMatchObject({
      responses: [
        {
          name: "name 4",
          partitionResponses: [
            { index: 100_005, errorCode: -1 },
            { index: 100_006, errorCode: -1 },
          ],
        },
        { name: "name 7", partitionResponses: [{ index: 100_008 }, { index: 100_009 }] },
      ],
    });
  });

  test("names alone", () => {
    expect(answerTo(20, 3)).toMatchObject({
      responses: [
        { name: "topicNames 1", errorCode: -1 },
        { name: "topicNames 2", errorCode: -1 },
      ],
    });
  });

  test("an error of the whole, where there is one", () => {
    expect(answerTo(1, 12)).toMatchObject({ errorCode: -1, responses: [] });
  });
});
