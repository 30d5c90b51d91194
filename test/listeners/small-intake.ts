import type { Done, FrameResult, Intake, Source } from "../../src/listeners/intake-types.ts";
import type { ErrorCode } from "../../src/model/errors.ts";
import { limits } from "../../src/model/limits.ts";

type Taken = { text: string; source: Source; ndjson: boolean };

/**
 * An intake without a log: enough of one to see what a listener hands over and when it answers.
 * A ping needs a numeric `lat`; offsets count up; answers come a turn later, or when let go.
 */
export class SmallIntake implements Intake {
  refusing: ErrorCode | null = null;
  paused = false;
  /** Answers wait until `letGo`. */
  holding = false;
  readonly taken: Taken[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #resume: (() => void)[] = [];
  #offset = 0;

  frame(bytes: Uint8Array, source: Source, ndjson: boolean, done: Done): void {
    const text = Buffer.from(bytes).toString();
    this.taken.push({ text, source, ndjson });
    const pings = parse(text, ndjson);
    if (pings.length > limits.framePingsMax) return done(null, "too_large");
    this.#later(done, this.#resultOf(pings));
  }

  object(ping: Record<string, unknown>, source: Source, done: Done): void {
    this.taken.push({ text: JSON.stringify(ping), source, ndjson: false });
    this.#later(done, this.#resultOf([ping]));
  }

  event(bytes: Uint8Array, source: Source, done: Done): void {
    this.taken.push({ text: `event ${Buffer.from(bytes).toString()}`, source, ndjson: false });
    this.#later(done, { accepted: 1, rejected: [], p: [[0, this.#offset++]] });
  }

  reject(bytes: Uint8Array, source: Source, reason: ErrorCode, done: Done): void {
    const text = `reject ${reason} ${Buffer.from(bytes).toString()}`;
    this.taken.push({ text, source, ndjson: false });
    this.#later(done, { accepted: 0, rejected: [{ i: 0, reason }], p: [null] });
  }

  onResume(listener: () => void): void {
    this.#resume.push(listener);
  }

  resume(): void {
    this.paused = false;
    for (const listener of this.#resume) listener();
  }

  /** Answers the oldest `count` that wait, all in one turn; with `refusal` as refused. */
  letGo(count: number, refusal: ErrorCode | null = null): void {
    for (const answer of this.#waiting.splice(0, count)) {
      this.#refusal = refusal;
      answer();
    }
    this.#refusal = null;
  }
  #refusal: ErrorCode | null = null;

  get waiting(): number {
    return this.#waiting.length;
  }

  #later(done: Done, result: FrameResult): void {
    this.#waiting.push(() => {
      if (this.#refusal === null) done(result, null);
      else done(null, this.#refusal);
    });
    if (!this.holding) setImmediate(() => this.letGo(1));
  }

  #resultOf(pings: unknown[]): FrameResult {
    const result: FrameResult = { accepted: 0, rejected: [], p: [] };
    for (const [i, ping] of pings.entries()) {
      if (typeof (ping as { lat?: unknown } | null)?.lat === "number") {
        result.accepted++;
        result.p.push([3, this.#offset++]);
      } else {
        result.rejected.push({ i, reason: ping === undefined ? "bad_json" : "bad_position" });
        result.p.push(null);
      }
    }
    return result;
  }
}

function parse(text: string, ndjson: boolean): unknown[] {
  if (ndjson) {
    const lines = text.split("\n").filter((line) => line.trim() !== "");
    return lines.flatMap((line) => parse(line, false));
  }
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : [value];
  } catch {
    return [undefined];
  }
}
