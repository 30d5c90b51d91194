import { fixTime } from "../codec/time.ts";
import { UsageError } from "./failure.ts";

/** Where to begin in each partition. */
export type Start = "earliest" | "latest" | { offset: number } | { timeMs: number };

/** What `--from` takes: `earliest`, `latest`, an offset, `@` and a time in ms or ISO. */
export function parseStart(text: string): Start {
  if (text === "earliest" || text === "latest") return text;
  if (/^\d{1,15}$/.test(text)) return { offset: Number(text) };
  const timeMs = text.startsWith("@") ? parseTime(text.slice(1)) : null;
  if (timeMs !== null) return { timeMs };
  throw new UsageError(
    "--from: expected earliest, latest, an offset, @MS or a time such as " +
      `@2026-11-21T08:30:00Z, not "${text}"`,
  );
}

function parseTime(text: string): number | null {
  return /^\d{1,15}$/.test(text) ? Number(text) : fixTime(text);
}
