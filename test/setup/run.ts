import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { type Counts, countReport } from "./counts.ts";
import { addMissing, howToAdd, parts } from "./parts.ts";

/**
 * `npm test`: lint, format, types, then every test file; the last line is "N passed, N failed",
 * where each check before them counts as one. `npm test -- test/log` runs vitest alone, with
 * those arguments.
 */

const root = resolve(import.meta.dirname, "../..");
const require = createRequire(import.meta.url);
const { scripts } = require("../../package.json") as { scripts: Record<string, string> };
const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
const failures: string[] = [];
const skips: string[] = [];

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** The script behind a package's command, so that it runs under this Node and no other. */
function command(name: string, program = name): string {
  const manifest = require.resolve(`${name}/package.json`);
  const { bin } = require(manifest) as { bin: string | Record<string, string> };
  return join(dirname(manifest), typeof bin === "string" ? bin : bin[program]);
}

async function run(script: string, args: string[]): Promise<number> {
  const child = spawn(process.execPath, [script, ...args], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
  });
  return await new Promise((done, failed) => {
    child.on("error", failed);
    child.on("close", (code) => done(code ?? 1));
  });
}

/** Runs a line of package.json's scripts, which says how it is done by hand. */
async function check(name: string, line: string): Promise<void> {
  say(`\n── ${name}`);
  const [program, ...args] = line.split(" ");
  const owner = program === "tsc" ? "typescript" : program;
  if ((await run(command(owner, program), args)) === 0) {
    counts.passed++;
    return;
  }
  counts.failed++;
  failures.push(name);
}

async function tests(args: string[]): Promise<void> {
  say("\n── tests");
  const folder = mkdtempSync(join(tmpdir(), "milepost-test-"));
  const report = join(folder, "report.json");
  try {
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
    const code = await run(command("vitest"), ["run", ...reporters, ...args]);
    const found = countReport(report, code, root);
    counts.passed += found.counts.passed;
    counts.failed += found.counts.failed;
    counts.skipped += found.counts.skipped;
    failures.push(...found.failures);
    skips.push(...found.skips);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function outsideParts(): void {
  for (const part of addMissing(Object.values(parts), say)) {
    if (process.env.CI === "true") {
      counts.failed++;
      failures.push(`${part.name} is missing: ${howToAdd(part)}`);
    } else {
      skips.push(`tests with ${part.name} (add it: ${howToAdd(part)})`);
    }
  }
}

const args = process.argv.slice(2);
outsideParts();
if (args.length === 0) {
  await check("lint", scripts.lint);
  await check("format", scripts["format:check"]);
  await check("types", scripts.types);
  await check("types of the map", scripts["types:map"]);
}
await tests(args);

say("");
for (const skip of skips) say(`skipped: ${skip}`);
for (const failure of failures) say(`failed: ${failure}`);
const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
say(`${counts.passed} passed, ${counts.failed} failed${skipped}`);
process.exitCode = counts.failed > 0 ? 1 : 0;
