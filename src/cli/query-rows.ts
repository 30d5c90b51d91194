/** Rows of a query as text, a piece for each of DuckDB's chunks: a big result is never held. */
import { table, widthsOf } from "./terminal.ts";

export type Column = { name: string; type: string };
type Rows = AsyncIterable<unknown[][]>;

/** JSON in Node has a way to print a number that none of its own can hold. */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };

const integer = /^U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$/;

export async function* jsonRows(columns: Column[], rows: Rows): AsyncGenerator<string> {
  const names = columns.map(({ name }) => JSON.stringify(name));
  for await (const chunk of rows) {
    let text = "";
    for (const row of chunk) {
      const members = row.map((value, i) => {
        return `${names[i]}:${JSON.stringify(jsonValue(value, columns[i].type))}`;
      });
      text += `{${members.join(",")}}\n`;
    }
    yield text;
  }
}

export async function* csvRows(columns: Column[], rows: Rows): AsyncGenerator<string> {
  yield `${columns.map(({ name }) => csvField(name)).join(",")}\r\n`;
  for await (const chunk of rows) {
    const lines = chunk.map((row) => {
      return row.map((value, i) => csvField(plain(value, columns[i].type))).join(",");
    });
    yield `${lines.join("\r\n")}\r\n`;
  }
}

/** Widths are the first chunk's: a longer cell later on moves the rest of its line. */
export async function* tableRows(columns: Column[], rows: Rows): AsyncGenerator<string> {
  const head = columns.map(({ name }) => name);
  let widths: number[] | null = null;
  for await (const chunk of rows) {
    const cells = chunk.map((row) => row.map((value, i) => cell(value, columns[i].type)));
    const first = widths === null;
    widths ??= widthsOf(head, cells);
    yield table(first ? head : [], cells, widths);
  }
  if (widths === null && head.length > 0) yield table(head, []);
}

/** Numbers of 64 bits and decimals come as text: as JSON they are numbers, digit by digit. */
function jsonValue(value: unknown, type: string): unknown {
  if (typeof value === "number") return type === "FLOAT" ? shortFloat(value) : value;
  if (typeof value !== "string") return value;
  if (integer.test(type)) {
    return Number.isSafeInteger(Number(value)) ? Number(value) : rawJSON(value);
  }
  if (type.startsWith("DECIMAL")) return rawJSON(value);
  if (type === "TIMESTAMP WITH TIME ZONE") return value.replace(" ", "T").replace(/\+00$/, "Z");
  return value;
}

function plain(value: unknown, type: string): string {
  if (value === null) return "";
  if (typeof value === "object") return JSON.stringify(value);
  return String(typeof value === "number" && type === "FLOAT" ? shortFloat(value) : value);
}

function csvField(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** On one line, and nothing that a terminal would obey; a number stands right. */
function cell(value: unknown, type: string): string | number {
  if (typeof value === "number" && type !== "FLOAT") return value;
  const text = plain(value, type);
  if (typeof value === "number") return Number(text);
  if (typeof value === "string" && integer.test(type) && Number.isSafeInteger(Number(text))) {
    return Number(text);
  }
  // eslint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (c) => JSON.stringify(c).slice(1, -1));
}

/** The shortest number that is the same one in 32 bits. */
function shortFloat(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}
