import { CommanderError } from "commander";

/** A command that could not do what it was asked; the message says why. Exit code 1. */
export class CommandFailure extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CommandFailure";
  }
}

/** A command line that makes no sense; the message says what would. Exit code 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

/** By name, so that no command loads the rooms the others' errors come from. */
const exitCodes = new Map([
  ["UsageError", 2],
  ["ConfigError", 2],
  ["CommandFailure", 1],
  ["MilepostError", 1],
  ["PortInUse", 1],
]);

/** Says on stderr what went wrong; the exit code. */
export function printFailure(error: unknown): number {
  // commander has printed its own message already; its codes are 0 for --help, else 1
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const { name, message, stack } = error as Error;
  // the rest are system errors, which name themselves, and faults, which need the stack
  const known = exitCodes.has(name) || (error as NodeJS.ErrnoException).syscall !== undefined;
  process.stderr.write(`milepost: ${known ? message : stack}\n`);
  return exitCodes.get(name) ?? 1;
}
