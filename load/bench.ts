/**
 * The side-by-side table: Milepost, the floors under it and the peers beside it, in interleaved
 * rounds. Prints a table, writes `load/results/<date>-<row>.json`.
 *
 *   npm run bench -- --only mqtt-10k --rounds 5
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "./build.ts";
import type { Contender, Context, Run } from "./contender.ts";
import { machine } from "./machine.ts";
import { type Row, rows } from "./rows.ts";
import { settled } from "./servers.ts";
import { judge, machineLine, table } from "./table.ts";

const help = `  npm run bench                               every row
  npm run bench -- --only mqtt-10k,mqtt-100   some rows
  npm run bench -- --quick                    one short round: does it run at all?

  --rounds N           rounds, interleaved (3)
  --seconds S          of each measurement, behind one second of warm-up (5)
  --only ROW,…         rows by name        --list   their names
  --contenders NAME,…  some of a row's columns
  --log-gb G           size of the log in the row "restart" (1)
  --dir FOLDER         data directories (data/bench; on the disk to be measured)
  --serve-arguments S  further options for "milepost serve", one string
  --quick              --rounds 1 --seconds 2

  Results go to load/results/<date>-<row>.json, "-short" added when --quick or --contenders.
`;

const { values } = parseArgs({
  options: {
    rounds: { type: "string" },
    seconds: { type: "string" },
    only: { type: "string" },
    contenders: { type: "string" },
    "log-gb": { type: "string", default: "1" },
    dir: { type: "string", default: "data/bench" },
    "serve-arguments": { type: "string", default: "" },
    quick: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3));
const context: Context = {
  seconds: Number(values.seconds ?? (values.quick ? 2 : 5)),
  logGB: Number(values["log-gb"]),
  dir: values.dir,
  serveArguments: values["serve-arguments"].split(" ").filter((word) => word !== ""),
};

type Runs = Map<string, Run[]>;

let failures = 0;

async function measure(row: Row): Promise<Runs> {
  let present: Contender[] = [];
  const runs: Runs = new Map();
  /** One contender that fails leaves the others their row. */
  const attempt = async (contender: Contender, step: () => Promise<void>) => {
    try {
      await step();
    } catch (error) {
      failures++;
      console.log(`  failed: ${contender.name}: ${error instanceof Error ? error.message : error}`);
      present = present.filter((other) => other !== contender);
      await contender.close();
    }
  };
  for (const contender of row.contenders) {
    if (chosen && !chosen.includes(contender.name)) continue;
    const lacking = contender.missing();
    if (lacking === null) present.push(contender);
    else console.log(`  skipped: ${contender.name}, missing: ${lacking}`);
  }
  try {
    for (const contender of present) await attempt(contender, () => contender.open(context));
    for (let round = 1; round <= rounds; round++) {
      for (const contender of present) {
        await settled(present.flatMap((other) => other.pids()));
        process.stderr.write(`  round ${round}: ${contender.name} …\n`);
        await attempt(contender, async () => {
          const run = await contender.run(context);
          runs.set(contender.name, [...(runs.get(contender.name) ?? []), run]);
        });
      }
    }
  } finally {
    for (const contender of present) await contender.close();
  }
  return runs;
}

function save(row: Row, runs: Runs): void {
  const folder = fileURLToPath(new URL("results", import.meta.url));
  mkdirSync(folder, { recursive: true });
  const date = new Date().toISOString();
  const result = {
    date,
    row: row.name,
    title: row.title,
    machine: facts,
    rounds,
    seconds: context.seconds,
    targets: judge(row.targets, runs),
    runs: Object.fromEntries(runs),
  };
  const short = values.quick || chosen ? "-short" : "";
  const path = `${folder}/${date.slice(0, 10)}-${row.name}${short}.json`;
  writeFileSync(path, `${JSON.stringify(result, null, 1)}\n`);
}

if (values.help || values.list) {
  const names = rows.map((row) => `${row.name.padEnd(15)} ${row.title}`);
  console.log(values.list ? names.join("\n") : help);
  process.exit(0);
}
const wanted = values.only?.split(",");
const chosen = values.contenders?.split(",");
const unknown = wanted?.filter((name) => !rows.some((row) => row.name === name)) ?? [];
if (unknown.length > 0) {
  console.error(`no such row: ${unknown.join(", ")}; --list shows them`);
  process.exit(2);
}
const built = build("devices");
if ("missing" in built) {
  console.log(`skipped: every row that needs the device generator, missing: ${built.missing}`);
  process.exit(0);
}
mkdirSync(context.dir, { recursive: true });
const facts = machine(context.dir);
console.log(machineLine(facts));
for (const row of rows) {
  if (wanted && !wanted.includes(row.name)) continue;
  console.log(`\n${row.name}: ${row.title}`);
  const runs = await measure(row);
  console.log(table(row, runs));
  if (runs.size > 0) save(row, runs);
}
rmSync(context.dir, { recursive: true, force: true });
process.exitCode = failures > 0 ? 1 : 0;
