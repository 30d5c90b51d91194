/** What MySQL's and MariaDB's errors mean: try again, leave a row out, or tell the operator. */
import type { QueryError } from "mysql2";
import { SinkFailure } from "./target.ts";

/** Of data: 22 what a type does not take, 23 constraints, 45 what a trigger refuses. */
const ofData = new Set(["22", "23", "45"]);
/** The same, of no class: text no character set has, clipped data, a CHECK, no partition for it. */
const ofDataToo = new Set([1366, 1265, 3819, 1526]);

/** Classes of what an operator has to see to: login, names, rights. */
const final = new Set(["28", "3D", "42"]);
const finalToo = new Set([1130, 1251, 1364, 1820, 1862, 3118, 3159, 3750, 4151]);
/** Of those classes, what passes: too many connections or queries of this user. */
const passing = new Set([1203, 1226]);

const nextSteps: Readonly<Record<number, string>> = {
  1044: "GRANT the user SELECT, INSERT, UPDATE on the database's tables, or name another in --url",
  1045: "check user and password in --url (or MYSQL_PWD)",
  1698: "check user and password in --url (or MYSQL_PWD)",
  1049: "CREATE DATABASE NAME; or name another in --url",
  1046: "name the database in --url: mysql://user:password@host/database",
  1054: "compare the table with docs/sinks.md and add the column",
  1142:
    "GRANT SELECT, INSERT, UPDATE ON positions TO USER; and the same for milepost_offsets and " +
    "milepost_replayed; --create-schema also wants CREATE, INDEX",
  1146: "`milepost sink mysql --url URL --create-schema` makes the tables",
  1364: "give the column a default, or let it be null",
  3750:
    "make the table from src/sinks/sql/mysql-positions.sql, with a key of its own: " +
    "row_id bigint AUTO_INCREMENT PRIMARY KEY",
};

/** LOAD DATA took the rows, but not all, or not as they were: it does not say which. */
export class LoadDiffers extends Error {}

export function isBadRow(error: unknown): boolean {
  const { errno, sqlState } = error as QueryError;
  if (typeof sqlState !== "string") return false;
  return ofData.has(sqlState.slice(0, 2)) || ofDataToo.has(errno as number);
}

export function rowReason(error: unknown): string {
  const { errno, message } = error as QueryError;
  return `database ${errno}: ${message.replace(/\s+/g, " ")}`.slice(0, 400);
}

/** LOCAL is refused by what the server, or somebody between, was told. */
export function isLoadRefused(error: unknown): boolean {
  return [1148, 3948, 2068, 4166].includes((error as QueryError).errno as number);
}

/** A failure for what trying again cannot help; the error itself where it may. */
export function asFailure(error: unknown): Error {
  const { errno = 0, code, sqlState, message } = error as QueryError;
  if (typeof sqlState !== "string") {
    if (code !== "AUTH_SWITCH_PLUGIN_ERROR" && code !== "HANDSHAKE_NO_SSL_SUPPORT") {
      return error as Error;
    }
    return new SinkFailure(`MySQL: ${message}`);
  }
  const isFinal = final.has(sqlState.slice(0, 2)) || finalToo.has(errno);
  if (!isFinal || passing.has(errno)) return error as Error;
  const step = nextSteps[errno] ?? "docs/sinks.md says what the worker needs";
  return new SinkFailure(`MySQL refuses (${errno}): ${message}; ${step}`);
}
