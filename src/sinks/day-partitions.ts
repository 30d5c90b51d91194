/**
 * The partitions of `positions`, one a day (UTC), made before rows need them. A new one is
 * attached: that waits for no reader, and no reader for it.
 */
import { DatabaseError, type Client } from "pg";
import type { Table } from "./pg-schema.ts";

const dayMs = 86_400_000;
/** Days outside have partitions of their own in the schema. */
const firstDay = Date.UTC(2020, 0, 1) / dayMs;
const endDay = Date.UTC(2100, 0, 1) / dayMs;
const daysAhead = 2;
const OVERLAPS = "42P17";

export class DayPartitions {
  readonly #table: Table;
  readonly #known = new Set<number>();

  constructor(table: Table) {
    this.#table = table;
  }

  /** Days of these that have no partition, as far as is known. */
  missing(days: Iterable<number>): number[] {
    if (!this.#table.partitioned) return [];
    return [...days].filter((day) => day >= firstDay && day < endDay && !this.#known.has(day));
  }

  ahead(nowMs: number): number[] {
    const today = Math.floor(nowMs / dayMs);
    return this.missing(Array.from({ length: daysAhead + 1 }, (_, i) => today + i));
  }

  async make(client: Client, days: number[]): Promise<void> {
    for (const day of days) {
      await this.#make(client, day);
      this.#known.add(day);
    }
  }

  async #make(client: Client, day: number): Promise<void> {
    const { schema, name, oid } = this.#table;
    const date = new Date(day * dayMs).toISOString().slice(0, 10);
    const end = new Date((day + 1) * dayMs).toISOString().slice(0, 10);
    const partition = `${name}_${date.replaceAll("-", "")}`;
    const [parent, child] = [name, partition].map(
      (part) => `${client.escapeIdentifier(schema)}.${client.escapeIdentifier(part)}`,
    );
    await client.query("BEGIN");
    try {
      // workers that need the same day at the same time make it one after the other
      await client.query("SELECT pg_advisory_xact_lock($1, $2)", [0x6d70, oid | 0]);
      const { rowCount } = await client.query(
        "SELECT 1 FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid " +
          "WHERE inhparent = $1 AND relname = $2",
        [oid, partition],
      );
      if (rowCount === 0) {
        await client.query(`CREATE TABLE ${child} (LIKE ${parent} INCLUDING ALL)`);
        await client.query(
          `ALTER TABLE ${parent} ATTACH PARTITION ${child} ` +
            `FOR VALUES FROM ('${date} 00:00:00+00') TO ('${end} 00:00:00+00')`,
        );
      }
      await client.query("COMMIT");
    } catch (error) {
      await client.query("ROLLBACK");
      // the table is divided otherwise, and the day has its place
      if (error instanceof DatabaseError && error.code === OVERLAPS) return;
      throw error;
    }
  }
}
