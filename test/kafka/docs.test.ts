import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { handlers } from "../../src/kafka/apis.ts";
import { limits } from "../../src/model/limits.ts";
import { topicSettings } from "../../src/model/topic-settings.ts";

const page = readFileSync(new URL("../../docs/kafka.md", import.meta.url), "utf8");

/** The cells of every row below a heading row that begins with these cells. */
function table(...heading: string[]): string[][] {
  const lines = page.split("\n");
  const cells = (line: string): string[] =>
    line
      .split("|")
      .slice(1, -1)
      .map((c) => c.trim());
  const from = lines.findIndex((line) => heading.every((cell, i) => cells(line)[i] === cell));
  const rows = lines.slice(from + 2);
  return rows
    .slice(
      0,
      rows.findIndex((line) => !line.startsWith("|")),
    )
    .map(cells);
}

test("the table of APIs is what is served", () => {
  const served = [...handlers.values()]
    .sort((a, b) => a.api.key - b.api.key)
    .map(({ api: { key, name, versions } }) => {
      const { from, to } = versions;
      return [String(key), name, from === to ? String(to) : `${from}-${to}`];
    });
  expect(table("key", "API", "versions").map((row) => row.slice(0, 3))).toEqual(served);
});

test("every setting stands in one of the two tables, by what it does", () => {
  const names = (...heading: string[]): string[] =>
    table(...heading)
      .flatMap(([cell]) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]))
      .sort();
  const all = Object.entries(topicSettings);
  const of = (works: boolean): string[] =>
    all.filter(([, setting]) => setting.works === works).map(([name]) => name);
  expect(names("setting", "default")).toEqual(of(true).sort());
  expect(names("setting", "because")).toEqual(of(false).sort());
});

test("the limits it gives are the limits", () => {
  expect(page).toContain(`at most ${limits.kafkaAutoCreatedPerMinuteMax} a minute`);
  expect(limits).toMatchObject({ topicsMax: 1000, partitionsMax: 8000 });
  expect(limits.kafkaRequestBytesMax).toBe(32 * 1024 * 1024);
  expect(limits).toMatchObject({ segmentBytesMin: 16 * 1024, sliceBytesMax: 256 * 1024 * 1024 });
});
