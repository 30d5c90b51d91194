import { createInterface } from "node:readline/promises";

type Style = "green" | "yellow" | "red" | "bold";

const codes: Record<Style, number> = { green: 32, yellow: 33, red: 31, bold: 1 };

/** Colour on a terminal only, and not under NO_COLOR. */
export function styled(text: string, style: Style): string {
  const plain = !process.stdout.isTTY || Boolean(process.env["NO_COLOR"]);
  return plain ? text : `\u001b[${codes[style]}m${text}\u001b[0m`;
}

/** Columns padded to their widest cell; numbers stand right. No head: rows that go on with it. */
export function table(
  head: string[],
  rows: (string | number)[][],
  widths: number[] = widthsOf(head, rows),
): string {
  const line = (cells: (string | number)[]): string =>
    cells
      .map((cell, column) => {
        const right = typeof (rows[0]?.[column] ?? cell) === "number";
        const text = String(cell);
        return right ? text.padStart(widths[column]) : text.padEnd(widths[column]);
      })
      .join("  ")
      .trimEnd();
  const lines: (string | number)[][] = head.length === 0 ? rows : [head, ...rows];
  return `${lines.map(line).join("\n")}\n`;
}

export function widthsOf(head: string[], rows: (string | number)[][]): number[] {
  return head.map((title, i) =>
    rows.reduce((widest, row) => Math.max(widest, String(row[i]).length), title.length),
  );
}

/** Asks on the terminal; null when there is none to ask on. */
export async function confirm(question: string): Promise<boolean | null> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return null;
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await asking.question(`${question} [y/N] `);
    return /^y(es)?$/i.test(answer.trim());
  } catch {
    // Ctrl-C and Ctrl-D are a no
    process.stderr.write("\n");
    return false;
  } finally {
    asking.close();
  }
}

/** 1234567 → `1 234 567`. */
export function count(n: number): string {
  return n.toLocaleString("en-US").replaceAll(",", " ");
}

/** One line on a terminal that the next one replaces; an empty one clears it. */
export function progressLine(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}
