/** The tables of MySQL or MariaDB: how they are made, and whether they are as a sink needs them. */
import { readFileSync } from "node:fs";
import type { Connection, RowDataPacket } from "mysql2/promise";
import type { OwnColumn, WriteValue } from "./own-columns.ts";
import { SinkFailure } from "./target.ts";

/** In the order of the encoder's fields. MariaDB's json is a longtext. */
export const columns: readonly { name: string; types: string[]; make: string }[] = [
  { name: "ts", types: ["datetime"], make: "datetime(3)" },
  { name: "id", types: ["varchar"], make: "varchar(128)" },
  { name: "lat", types: ["double"], make: "double" },
  { name: "lon", types: ["double"], make: "double" },
  { name: "speed", types: ["float", "double"], make: "float" },
  { name: "heading", types: ["float", "double"], make: "float" },
  { name: "accuracy", types: ["float", "double"], make: "float" },
  { name: "altitude", types: ["float", "double"], make: "float" },
  { name: "battery", types: ["float", "double"], make: "float" },
  { name: "trip", types: ["text", "varchar"], make: "text" },
  { name: "h3", types: ["bigint"], make: "bigint unsigned" },
  { name: "extra", types: ["json", "longtext"], make: "json" },
  { name: "received_at", types: ["datetime"], make: "datetime(3)" },
  { name: "k_topic", types: ["varchar"], make: "varchar(249)" },
  { name: "k_partition", types: ["int"], make: "int" },
  { name: "k_offset", types: ["bigint"], make: "bigint" },
];

type TableRow = RowDataPacket & { name: string; engine: string | null };
type ColumnRow = RowDataPacket & {
  name: string;
  /** Without and with what is in brackets. */
  type: string;
  whole: string;
  precision: number | null;
  length: number | null;
  charset: string | null;
  made: string;
};

/** Makes what is not there; what is there stays as it is. */
export async function createSchema(connection: Connection): Promise<void> {
  for (const name of ["mysql-positions", "mysql-offsets"]) {
    const sql = readFileSync(new URL(`./sql/${name}.sql`, import.meta.url), "utf8");
    for (const statement of sql.split(/;\n/).filter((text) => text.includes("CREATE"))) {
      await connection.query(statement);
    }
  }
}

/** The columns beyond the contract's. Throws a failure that says what is missing. */
export async function findOwnColumns(connection: Connection): Promise<OwnColumn[]> {
  const [tables] = await connection.query<TableRow[]>(
    "SELECT table_name AS name, engine AS engine FROM information_schema.tables " +
      "WHERE table_schema = database() AND table_name IN ('positions', 'milepost_offsets')",
  );
  for (const name of ["positions", "milepost_offsets"]) {
    const table = tables.find((one) => one.name === name);
    if (table === undefined) {
      // also what this user may not see
      const make = "`milepost sink mysql --url URL --create-schema` makes it";
      throw new SinkFailure(
        `there is no table ${name}: ${make}; or no right: GRANT SELECT, INSERT`,
      );
    }
    if (table.engine === "InnoDB") continue;
    throw new SinkFailure(
      `table ${name} is ${table.engine}, and rows and offsets must be one transaction: ` +
        `ALTER TABLE ${name} ENGINE = InnoDB;`,
    );
  }
  const [found] = await connection.query<ColumnRow[]>(
    "SELECT column_name AS name, data_type AS type, column_type AS whole, extra AS made, " +
      "datetime_precision AS `precision`, character_maximum_length AS length, " +
      "character_set_name AS charset FROM information_schema.columns " +
      "WHERE table_schema = database() AND table_name = 'positions' ORDER BY ordinal_position",
  );
  checkColumns(found);
  return found.flatMap((column) => {
    const { name, made } = column;
    if (columns.some((one) => one.name === name)) return [];
    if (/auto_increment|generated|virtual|stored|persistent/i.test(made)) return [];
    const write = writerOf(column);
    return write === null ? [] : [{ name, write }];
  });
}

function checkColumns(found: ColumnRow[]): void {
  for (const { name, types, make } of columns) {
    const column = found.find((one) => one.name.toLowerCase() === name);
    if (column === undefined) {
      throw new SinkFailure(
        `table positions has no column ${name}: ALTER TABLE positions ADD COLUMN ${name} ${make};`,
      );
    }
    const { type, whole, precision, charset } = column;
    // a time would be rounded, and text be converted, without a word
    const precise = precision === null || precision >= 3;
    const unicode = charset === null || charset === "utf8mb4";
    if (types.includes(type) && precise && unicode) continue;
    const is = unicode ? whole : `${whole} in ${charset}`;
    throw new SinkFailure(
      `column ${name} of table positions is ${is}, not ${make}${unicode ? "" : " in utf8mb4"}: ` +
        `ALTER TABLE positions MODIFY COLUMN ${name} ${make}${unicode ? "" : " CHARSET utf8mb4"};`,
    );
  }
}

const texts = new Set(["char", "varchar", "tinytext", "text", "mediumtext", "longtext"]);
const wholeBits = new Map([
  ["tinyint", 8],
  ["smallint", 16],
  ["mediumint", 24],
  ["int", 32],
  ["bigint", 53],
]);
const float32Max = 3.4028234663852886e38;

/** How a value becomes the column's; null for a type that is left to its default. */
function writerOf({ type, whole, length, charset }: ColumnRow): WriteValue | null {
  if (whole.startsWith("tinyint(1)")) {
    return (value) => (typeof value === "boolean" ? Buffer.from(value ? "1" : "0") : null);
  }
  if (texts.has(type) && charset === "utf8mb4") {
    const lengthMax = length ?? 0;
    return (value) => {
      if (typeof value !== "string" || value.includes("\0")) return null;
      // of a varchar characters, of a text bytes: a value that fits as bytes fits either
      const bytes = Buffer.from(value);
      const size = type.endsWith("text") ? bytes.byteLength : [...value].length;
      return size <= lengthMax ? bytes : null;
    };
  }
  const bits = wholeBits.get(type);
  if (bits !== undefined) {
    const unsigned = whole.includes("unsigned");
    const high = 2 ** (unsigned || bits === 53 ? bits : bits - 1) - 1;
    const low = unsigned ? 0 : bits === 53 ? -high : -high - 1;
    return (value) => {
      if (!Number.isInteger(value)) return null;
      const number = value as number;
      return number >= low && number <= high ? Buffer.from(String(number)) : null;
    };
  }
  if (type !== "float" && type !== "double") return null;
  // float(5,2) and such would round
  if (whole.includes("(")) return null;
  const max = type === "float" ? float32Max : Number.MAX_VALUE;
  const low = whole.includes("unsigned") ? 0 : -max;
  return (value) => {
    if (typeof value !== "number" || value < low || value > max) return null;
    return Buffer.from(String(value));
  };
}
