/**
 * Why one item of a request is refused, as the client is told. Its siblings go on; whatever is no
 * refusal is a fault and goes on up.
 */
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";

export class Refused extends Error {
  readonly kafka: number;
  constructor(kafka: number, message: string) {
    super(message);
    this.name = "Refused";
    this.kafka = kafka;
  }
}

export type Refusal = { errorCode: number; errorMessage: string };

export function refusal(error: unknown): Refusal {
  if (error instanceof Refused || error instanceof MilepostError) {
    return { errorCode: error.kafka, errorMessage: error.message };
  }
  throw error;
}

/** What a client sent, in an error's text. */
export const quoted = (text: string): string =>
  text.length > limits.errorDetailCharsMax ? `${text.slice(0, limits.errorDetailCharsMax)}…` : text;

/** What stands more than once in a list. */
export function repeated<T>(items: readonly T[]): Set<T> {
  const seen = new Set<T>();
  const twice = new Set<T>();
  for (const item of items) {
    if (seen.has(item)) twice.add(item);
    seen.add(item);
  }
  return twice;
}
