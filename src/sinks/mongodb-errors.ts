/** What MongoDB's errors mean: try again, leave a document out, or tell the operator. */
import { MongoServerError } from "mongodb";
import { SinkFailure } from "./target.ts";

export const DUPLICATE = 11_000;

/** Of a document: what its server cannot hold, index or validate. */
export const documentCodes: ReadonlySet<number> = new Set([
  2,
  9,
  14,
  22,
  52,
  57,
  121,
  10_334,
  16_755,
  17_280,
  17_419,
  DUPLICATE,
]);

/** A document that the server does not take; the others of its bulk are in. */
export class BadDocument extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export function rowReason(error: unknown): string {
  const { code, message } = error as BadDocument;
  return `database ${code}: ${message.replace(/\s+/g, " ")}`.slice(0, 400);
}

const nextSteps = new Map([
  [11, "check user and password in --url, and authSource"],
  [13, "give the user the role readWrite on the database"],
  [18, "check user and password in --url, and authSource"],
  [8000, "check user and password in --url, and authSource"],
]);

/** Of the driver: what it says of a URL, and of what it is asked for. */
const ofUrl = new Set(["MongoParseError", "MongoInvalidArgumentError", "MongoAPIError"]);

/** A failure for what trying again cannot help; the error itself where it may. */
export function asFailure(error: unknown): Error {
  const { name, message } = error as Error;
  if (ofUrl.has(name)) return new SinkFailure(`MongoDB: ${message}`);
  if (!(error instanceof MongoServerError)) return error as Error;
  const step = nextSteps.get(Number(error.code));
  if (step === undefined) return error;
  return new SinkFailure(`MongoDB refuses (${error.code}): ${message}; ${step}`);
}
