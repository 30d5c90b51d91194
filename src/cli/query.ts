import type { Command } from "commander";
import { CommandFailure, UsageError } from "./failure.ts";
import { parquetDir } from "./parquet-dir.ts";

const examples = `Examples:
  milepost query "SELECT id, ts, lat, lon, speed FROM positions ORDER BY ts DESC LIMIT 10"
  milepost query "SELECT format('{:x}', h3) AS cell, count(*) AS pings, avg(speed) * 3.6 AS kmh
    FROM positions WHERE ts > now() - INTERVAL 1 HOUR GROUP BY h3 ORDER BY pings DESC LIMIT 20"
  milepost query "SELECT * FROM positions WHERE date = '2026-11-21' AND hour = 8" --csv > hour.csv
  milepost query "DESCRIBE positions" --dir /var/lib/milepost/parquet
`;

const afterwards = `
DuckDB's SQL, in UTC, over the files that milepost sink parquet wrote; a topic is a view. date and
hour (of receipt) are columns that name the folders: a condition on them reads only those.
A sink may go on writing meanwhile.
`;

type QueryFlags = { dir: string; json?: true; csv?: true };

export function register(program: Command): void {
  program
    .command("query <SQL>")
    .description("SQL over the Parquet files of a sink")
    .addHelpText("before", examples)
    .addHelpText("after", afterwards)
    .option("--dir <DIR>", "the sink's folder", parquetDir)
    .option("--json", "an object a line")
    .option("--csv", "comma-separated values, with a head")
    .action(query);
}

async function query(sql: string, { dir, json, csv }: QueryFlags): Promise<void> {
  if (json && csv) throw new UsageError("--json and --csv: one of them");
  if (!/[^\s;]/.test(sql)) throw new UsageError('expected SQL, such as "DESCRIBE positions"');
  const { ParquetQuery, topicsIn } = await import("../sinks/parquet-query.ts");
  if (topicsIn(dir).length === 0) {
    throw new CommandFailure(
      `${dir} has no Parquet files yet: \`milepost sink parquet --dir ${dir}\` writes them, the ` +
        "first ones a minute after it began (--roll)",
    );
  }
  const { csvRows, jsonRows, tableRows } = await import("./query-rows.ts");
  const database = await ParquetQuery.open(dir);
  const stop = (): void => void process.exit(130);
  process.on("SIGINT", stop);
  try {
    const { columns, rows } = await database.run(sql);
    const print = json ? jsonRows : csv ? csvRows : tableRows;
    for await (const text of print(columns, rows)) await write(text);
  } finally {
    process.off("SIGINT", stop);
    database.close();
  }
}

function write(text: string): Promise<void> {
  return new Promise((done) => {
    process.stdout.write(text, () => done());
  });
}
