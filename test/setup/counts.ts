import { readFileSync } from "node:fs";
import { relative } from "node:path";

export type Counts = { passed: number; failed: number; skipped: number };

/** The part of vitest's JSON report that is read here. */
type Report = {
  testResults: {
    name: string;
    status: string;
    assertionResults: { status: string; fullName: string }[];
  }[];
};

/**
 * Counts a report's tests. A file that cannot be loaded counts as one failure, and so does a run
 * that fails without any failed test (an unhandled rejection, a crash, no report at all).
 */
export function countReport(
  file: string,
  exitCode: number,
  root: string,
): { counts: Counts; failures: string[] } {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  const failures: string[] = [];
  for (const suite of read(file).testResults) {
    const name = relative(root, suite.name);
    let failed = 0;
    for (const { status, fullName } of suite.assertionResults) {
      if (status === "passed") counts.passed++;
      else if (status !== "failed") counts.skipped++;
      else {
        failed++;
        failures.push(`${name}: ${fullName}`);
      }
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
  return { counts, failures };
}

function read(file: string): Report {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Report;
  } catch {
    return { testResults: [] };
  }
}
