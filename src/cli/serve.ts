import type { Command } from "commander";
import type { Given } from "../config/load.ts";
import { loadServeOptions, openPorts } from "../config/load.ts";
import type { ServeOptions } from "../config/options.ts";
import { serveFields } from "../config/options.ts";
import { printFailure } from "./failure.ts";
import { serveFlag } from "./serve-flag.ts";

const examples = `Examples:
  milepost serve
  milepost serve --data-dir /var/lib/milepost --workers 4
  milepost serve --mqtt-port 0 --device-port 0 --http-port 0 --kafka-port 0 --admin-port 0
                                                                  any free ports
  milepost serve --durability logged                              faster, survives a crash only
  milepost serve --uplink kafka-1:9092 --durability mirrored      in front of a Kafka cluster
  milepost serve --host 0.0.0.0 --insecure                        anybody may connect
`;

const afterwards = `
Each option may also stand in the environment (--mqtt-port as MILEPOST_MQTT_PORT) or in
milepost.toml (mqtt-port = 1883): the one in the working directory, or --config FILE, or
MILEPOST_CONFIG. Flags win over the environment, the environment over the file.

When it is up it prints one line on stdout: milepost ready {"node":1,"mqtt":1883,…}
SIGTERM or Ctrl-C: finishes what it has taken, then exits 0. A second Ctrl-C exits at once.
`;

export function register(program: Command): void {
  const command = program
    .command("serve")
    .description("run the gateway")
    .addHelpText("before", examples)
    .addHelpText("after", afterwards)
    .option("--config <FILE>", "read options from this file (MILEPOST_CONFIG)");
  for (const field of serveFields) command.addOption(serveFlag(field));
  command.action(async (flags: Record<string, string | string[] | true>) => {
    const { options } = loadServeOptions({
      flags: toFields(flags),
      config: flags["config"] as string | undefined,
      env: process.env,
      cwd: process.cwd(),
    });
    warnOfOpenPorts(options);
    // threads of a node that failed half-way must not keep the process alive
    process.exit(await serve(options).catch(printFailure));
  });
}

/** Commander names flags by their own name (`stale`), the options by their field (`staleMs`). */
function toFields(flags: Record<string, string | string[] | true>): Given["flags"] {
  const given: Given["flags"] = {};
  for (const field of serveFields) {
    const value = flags[serveFlag(field).attributeName()];
    if (value !== undefined) given[field] = value;
  }
  return given;
}

function warnOfOpenPorts(options: ServeOptions): void {
  const open = openPorts(options);
  if (open.length === 0) return;
  process.stderr.write("milepost: warning: --insecure opens to others, without any log-in\n");
  for (const line of open) process.stderr.write(`  ${line}\n`);
}

/** Runs until a signal or a fault; the exit code. */
async function serve(options: ServeOptions): Promise<number> {
  const asked = new Promise<void>((resolve) => {
    process.on("SIGTERM", resolve);
    process.once("SIGINT", () => {
      resolve();
      // the second one ends the process as if nobody listened: no clean-up
      process.removeAllListeners("SIGINT");
    });
  });
  const { startNode } = await import("../node/node.ts");
  const node = await startNode(options);
  process.stdout.write(`milepost ready ${JSON.stringify(node.ready)}\n`);
  const stopped = asked.then(async () => {
    process.stderr.write("milepost: stopping\n");
    await node.stop();
    return 0;
  });
  return Promise.race([stopped, node.exited]);
}
