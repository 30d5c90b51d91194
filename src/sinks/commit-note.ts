/** What a worker writes beside each offset that it commits; `sink status` reads it. */
export type CommitNote = {
  /** Of this partition, lately. */
  rowsPerSecond: number;
  /** Of this partition, since the group began. */
  deadLettered: number;
  /** ms: when the rows were in the database. */
  at: number;
};

/** Null when some other program wrote it. */
export function parseNote(text: string | null | undefined): CommitNote | null {
  if (!text) return null;
  let note: unknown;
  try {
    note = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof note !== "object" || note === null) return null;
  const { rowsPerSecond, deadLettered, at } = note as Record<string, unknown>;
  const ok = [rowsPerSecond, deadLettered, at].every((value) => Number.isFinite(value));
  return ok ? (note as CommitNote) : null;
}
