import { readFileSync } from "node:fs";
import { relative } from "node:path";

export type Counts = { passed: number; failed: number; skipped: number };

/** The part of vitest's JSON report that is read here. */
type Report = {
  testResults: {
    name: string;
    status: string;
    assertionResults: { status: string; fullName: string; ancestorTitles: string[] }[];
  }[];
};

/** What was counted, and by name what failed and what was skipped. */
export type Counted = { counts: Counts; failures: string[]; skips: string[] };

/**
 * Counts a report's tests. A file that cannot be loaded counts as one failure, and so does a run
 * that fails without any failed test (an unhandled rejection, a crash, no report at all).
 */
export function countReport(file: string, exitCode: number, root: string): Counted {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  const failures: string[] = [];
  const skips = new Set<string>();
  for (const suite of read(file).testResults) {
    const name = relative(root, suite.name);
    let failed = 0;
    for (const { status, fullName, ancestorTitles } of suite.assertionResults) {
      if (status === "passed") counts.passed++;
      else if (status === "failed") {
        failed++;
        failures.push(`${name}: ${fullName}`);
      } else {
        counts.skipped++;
        skips.add(`${name}: ${ancestorTitles[0] ?? fullName}`);
      }
    }
    if (suite.status !== "failed" && suite.assertionResults.length === 0) {
      counts.skipped++;
      skips.add(name);
    }
    if (suite.status === "failed" && failed === 0) {
      failed = 1;
      failures.push(`${name}: cannot be run`);
    }
    counts.failed += failed;
  }
  if (exitCode !== 0 && counts.failed === 0) {
    counts.failed = 1;
    failures.push(`the test run (exit code ${exitCode})`);
  }
  return { counts, failures, skips: [...skips] };
}

function read(file: string): Report {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Report;
  } catch {
    return { testResults: [] };
  }
}
