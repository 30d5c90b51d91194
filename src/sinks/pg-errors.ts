/** What PostgreSQL's errors mean: try again, leave a row out, or tell the operator. */
import { DatabaseError } from "pg";
import { SinkFailure } from "./target.ts";

/** Of data: 22 what a type does not take, 23 constraints, 54 limits such as an index row's size. */
const ofData = new Set(["22", "23", "54"]);

/** The row is at fault, not the table. */
export function isBadRow(error: unknown): boolean {
  return error instanceof DatabaseError && ofData.has(error.code?.slice(0, 2) ?? "");
}

export function rowReason(error: unknown): string {
  const { code, message, constraint } = error as DatabaseError;
  const name = constraint === undefined ? "" : ` (${constraint})`;
  return `database ${code}: ${message.replace(/\s+/g, " ")}${name}`.slice(0, 400);
}

/** Classes of what an operator has to see to: login, names, rights, what the server cannot do. */
const final = new Set(["28", "3D", "3F", "42", "0A", "0L", "0P"]);

const nextSteps: Readonly<Record<string, string>> = {
  "28P01": "check the password in --url (or PGPASSWORD, ~/.pgpass)",
  "28000": "check the user in --url, and the server's pg_hba.conf",
  "3D000": "create the database (`createdb NAME`), or name another in --url",
  "42P01": "`milepost sink postgres --url URL --create-schema` makes the tables",
  "42703": "compare the table with docs/sinks.md and add the column",
  "42501":
    "GRANT SELECT, INSERT, UPDATE ON positions, milepost_offsets, milepost_replayed TO USER; " +
    "and for new days: GRANT CREATE ON SCHEMA, and be the owner of positions",
};

/** A failure for what trying again cannot help; the error itself where it may. */
export function asFailure(error: unknown): Error {
  if (!(error instanceof DatabaseError)) {
    // the client's own: the server asks for a password, and there is none
    const { message } = error as Error;
    if (/password must be a string|SASL: SCRAM/.test(message)) {
      return new SinkFailure(`PostgreSQL wants a password: ${nextSteps["28P01"]}`);
    }
    if (/does not support SSL/.test(message)) return new SinkFailure(`PostgreSQL: ${message}`);
    return error as Error;
  }
  const { code = "", message } = error;
  if (!final.has(code.slice(0, 2))) return error;
  const step = nextSteps[code] ?? "docs/sinks.md says what the worker needs";
  return new SinkFailure(`PostgreSQL refuses (${code}): ${message}; ${step}`);
}

/** In a few words. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const inner = error instanceof AggregateError ? (error.errors[0] as Error) : null;
  return message || inner?.message || code || String(error);
}
