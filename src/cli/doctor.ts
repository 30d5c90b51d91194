import type { Command } from "commander";
import { ConfigError, loadServeOptions } from "../config/load.ts";
import type { ServeOptions } from "../config/options.ts";
import { checkData } from "./data-checks.ts";
import type { Finding } from "./machine-checks.ts";
import { checkClock, checkDescriptors, checkDisk, checkNode } from "./machine-checks.ts";
import { checkNativeParts } from "./native-checks.ts";
import { styled } from "./terminal.ts";

const examples = `Examples:
  milepost doctor                             the machine, ./milepost.toml and its data directory
  milepost doctor --data-dir /var/lib/milepost
  milepost doctor --json
`;

type Flags = { dataDir?: string; config?: string; json?: true };

export function register(program: Command): void {
  program
    .command("doctor")
    .description("check the machine, the data directory (every checksum) and the configuration")
    .addHelpText("before", examples)
    .addHelpText("after", "\nExit code 1 when a line is marked ✗.")
    .option("--data-dir <DIR>", "the data directory (default: the configured one)")
    .option("--config <FILE>", "the configuration to check (default: ./milepost.toml)")
    .option("--json", "print JSON")
    .action(async (flags: Flags) => {
      const findings: Finding[] = [];
      for await (const finding of examine(flags)) {
        findings.push(finding);
        if (!flags.json) process.stdout.write(line(finding));
      }
      const ok = findings.every((finding) => finding.state !== "failed");
      if (flags.json) process.stdout.write(`${JSON.stringify({ ok, checks: findings })}\n`);
      process.exitCode = ok ? 0 : 1;
    });
}

async function* examine(flags: Flags): AsyncGenerator<Finding> {
  yield checkNode();
  yield* checkNativeParts();
  yield checkDescriptors();
  yield checkClock(Date.now());
  const { options, finding } = checkConfiguration(flags);
  yield finding;
  if (options === null) return;
  yield* checkDisk(options.dataDir, options.diskMin);
  yield* await checkData(options.dataDir);
}

function checkConfiguration(flags: Flags): { options: ServeOptions | null; finding: Finding } {
  const name = "configuration";
  try {
    const { options, file } = loadServeOptions({
      flags: flags.dataDir === undefined ? {} : { dataDir: flags.dataDir },
      config: flags.config,
      env: process.env,
      cwd: process.cwd(),
    });
    const detail = file ?? "no milepost.toml; environment and defaults";
    return { options, finding: { name, state: "ok", detail } };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { options: null, finding: { name, state: "failed", detail: error.message } };
  }
}

function line({ name, state, detail }: Finding): string {
  const marks = {
    ok: styled("✓", "green"),
    warning: styled("!", "yellow"),
    failed: styled("✗", "red"),
  };
  return `${marks[state]} ${name.padEnd(14)} ${detail.replaceAll("\n", "\n    ")}\n`;
}
