import { run } from "./cli/program.ts";

// a reader that has seen enough (`| head`) ends the command, quietly
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

process.exitCode = await run(process.argv.slice(2));
