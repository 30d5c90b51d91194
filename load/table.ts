/** Medians, ratios, and the table on the terminal. */
import type { Run } from "./contender.ts";
import type { Machine } from "./machine.ts";
import type { Row, Target } from "./rows.ts";

type Runs = Map<string, Run[]>;
export type Verdict = { target: string; value: number; reached: boolean };

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** A target whose contenders were not all measured has no verdict. */
export function judge(targets: Target[], runs: Runs): Verdict[] {
  const verdicts: Verdict[] = [];
  for (const target of targets) {
    const own = figures(runs, target.of, target.figure);
    const other = target.over === undefined ? null : figures(runs, target.over, target.figure);
    if (own.length === 0 || other?.length === 0) continue;
    // The ratio of each round, then the median: what disturbs a round disturbs both sides of it.
    const value = median(other === null ? own : own.map((figure, round) => figure / other[round]));
    const reached = value >= (target.atLeast ?? -Infinity) && value <= (target.atMost ?? Infinity);
    verdicts.push({ target: describe(target), value: Number(value.toPrecision(4)), reached });
  }
  return verdicts;
}

function figures(runs: Runs, contender: string, figure: string): number[] {
  return (runs.get(contender) ?? []).map((run) => run.figures[figure]);
}

function describe(target: Target): string {
  const over = target.over === undefined ? "" : ` / ${target.over}`;
  const bound = target.atLeast === undefined ? `≤ ${target.atMost}` : `≥ ${target.atLeast}`;
  return `${target.of}${over}, ${target.figure} ${bound}`;
}

export function table(row: Row, runs: Runs): string {
  const lines: string[] = [];
  const columns = Object.keys([...runs.values()][0]?.[0]?.figures ?? {});
  if (columns.length > 0) lines.push(line("", columns));
  for (const [name, all] of runs) {
    const cells = columns.map((column) => number(median(figures(runs, name, column))));
    lines.push(line(name, cells));
    const faults = all.flatMap((run) => run.faults);
    if (faults.length > 0) lines.push(`  ! ${name}: ${faults.join(", ")}`);
  }
  for (const { target, value, reached } of judge(row.targets, runs)) {
    lines.push(`  ${reached ? "reached" : "MISSED "}  ${target}: ${number(value)}`);
  }
  return lines.join("\n");
}

function line(name: string, cells: string[]): string {
  return `  ${name.padEnd(20)}${cells.map((cell) => cell.padStart(14)).join("")}`;
}

function number(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString("en").replaceAll(",", " ");
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}

export function machineLine(facts: Machine): string {
  const { cores, cpu, memoryGB, kernel, node, fileSystem } = facts;
  return `${cores} cores (${cpu}), ${memoryGB} GB, Linux ${kernel}, Node ${node}, ${fileSystem}`;
}
