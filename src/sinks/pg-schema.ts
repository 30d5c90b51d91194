/** The tables a sink needs: how they are made, and whether they are as it needs them. */
import { readFileSync } from "node:fs";
import type { Client } from "pg";
import { columns } from "./copy-encoder.ts";
import type { OwnColumn } from "./own-columns.ts";
import { writerOf } from "./pg-types.ts";
import { SinkFailure } from "./target.ts";

export type Table = {
  oid: number;
  schema: string;
  name: string;
  partitioned: boolean;
  /** Columns beyond the contract's that pings may fill. */
  own: OwnColumn[];
};

const sqlOf = (name: string): string =>
  readFileSync(new URL(`./sql/${name}.sql`, import.meta.url), "utf8");

/** Makes what is not there; what is there stays as it is. */
export async function createSchema(client: Client): Promise<void> {
  const { rowCount } = await client.query(
    "SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'",
  );
  const positions = rowCount === 0 ? "positions" : "positions-timescale";
  // workers that start together make it one after the other
  const lock = "SELECT pg_advisory_xact_lock(hashtext('milepost schema'));";
  await client.query(`BEGIN; ${lock} ${sqlOf(positions)} ${sqlOf("offsets")} COMMIT`);
}

/** Throws a failure that says what is missing, and what to do. */
export async function findTable(client: Client): Promise<Table> {
  const { rows: tables } = await client.query<TableRow>(
    "SELECT c.oid, nspname AS schema, relname AS name, relkind AS kind, " +
      "has_table_privilege(c.oid, 'INSERT') AS may " +
      "FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace " +
      "WHERE c.oid IN (to_regclass('positions'), to_regclass('milepost_offsets'))",
  );
  const make = "`milepost sink postgres --url URL --create-schema` makes it";
  for (const name of ["positions", "milepost_offsets"]) {
    const found = tables.find((table) => table.name === name);
    if (found === undefined) throw new SinkFailure(`there is no table ${name}: ${make}`);
    if (found.may) continue;
    throw new SinkFailure(
      `no right to write table ${name}: GRANT SELECT, INSERT, UPDATE ON ${name} TO USER`,
    );
  }
  const { oid, schema, name, kind } = tables.find((table) => table.name === "positions")!;
  const { rows: found } = await client.query<ColumnRow>(
    "SELECT attname AS name, typname AS type, attgenerated <> '' OR attidentity <> '' AS made " +
      "FROM pg_attribute JOIN pg_type t ON t.oid = atttypid " +
      "WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped",
    [oid],
  );
  checkColumns(found);
  const own = found.flatMap(({ name: own, type, made }) => {
    const write = made || columns.some((column) => column.name === own) ? null : writerOf(type);
    return write === null ? [] : [{ name: own, write }];
  });
  return { oid, schema, name, partitioned: kind === "p", own };
}

type TableRow = { oid: number; schema: string; name: string; kind: string; may: boolean };
type ColumnRow = { name: string; type: string; made: boolean };

function checkColumns(found: ColumnRow[]): void {
  for (const { name, type } of columns) {
    const column = found.find((one) => one.name === name);
    if (column === undefined) {
      throw new SinkFailure(
        `table positions has no column ${name}: ALTER TABLE positions ADD COLUMN ${name} ${type};`,
      );
    }
    if (column.type === type) continue;
    throw new SinkFailure(
      `column ${name} of table positions is ${column.type}, not ${type}: ` +
        `ALTER TABLE positions ALTER COLUMN ${name} TYPE ${type};`,
    );
  }
}
