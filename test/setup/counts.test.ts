import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { countReport } from "./counts.ts";

const folder = mkdtempSync(join(tmpdir(), "milepost-counts-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

type Suite = { name: string; status: string; assertionResults: object[] };

function count(testResults: Suite[], exitCode: number): ReturnType<typeof countReport> {
  const file = join(folder, "report.json");
  writeFileSync(file, JSON.stringify({ testResults }));
  return countReport(file, exitCode, "/project");
}

test("every status is counted, failures by file and name", () => {
  const results = ["passed", "passed", "failed", "pending", "todo"].map((status) => ({
    status,
    fullName: `outer it is ${status}`,
    ancestorTitles: ["outer"],
  }));
  const suite = { name: "/project/test/a.test.ts", status: "failed", assertionResults: results };
  expect(count([suite], 1)).toEqual({
    counts: { passed: 2, failed: 1, skipped: 2 },
    failures: ["test/a.test.ts: outer it is failed"],
    skips: ["test/a.test.ts: outer"],
  });
});

test("a file that does not load is a failure", () => {
  const suite = { name: "/project/test/a.test.ts", status: "failed", assertionResults: [] };
  expect(count([suite], 1)).toEqual({
    counts: { passed: 0, failed: 1, skipped: 0 },
    failures: ["test/a.test.ts: cannot be run"],
    skips: [],
  });
});

test("a file without tests is skipped", () => {
  const suite = { name: "/project/test/a.test.ts", status: "passed", assertionResults: [] };
  expect(count([suite], 0)).toEqual({
    counts: { passed: 0, failed: 0, skipped: 1 },
    failures: [],
    skips: ["test/a.test.ts"],
  });
});

test("a failing run without a failing test is a failure, also without a report", () => {
  const passed = { status: "passed", fullName: "it is" };
  const suite = { name: "/project/test/a.test.ts", status: "passed", assertionResults: [passed] };
  expect(count([suite], 1).counts).toEqual({ passed: 1, failed: 1, skipped: 0 });
  expect(countReport(join(folder, "none.json"), 134, "/project").counts.failed).toBe(1);
});
