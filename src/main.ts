import { run } from "./cli/program.ts";

// a reader that has seen enough (`| head`) ends the command, quietly
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  // Node turns the signal into this error; a command that listens ends in its own good order
  if (!process.emit("SIGPIPE", "SIGPIPE")) process.exit(0);
});

process.exitCode = await run(process.argv.slice(2));
