/** Lines for the operator, so many a minute; how many more there were is said afterwards. */
export class LineLimit {
  readonly #report: (line: string) => void;
  readonly #perMinute: number;
  readonly #what: string;
  #sinceMs = -Infinity;
  #lines = 0;

  /** `what` there were more of: "kafka: connections closed". */
  constructor(report: (line: string) => void, perMinute: number, what: string) {
    this.#report = report;
    this.#perMinute = perMinute;
    this.#what = what;
  }

  say(line: string, now: number): void {
    this.tick(now);
    if (++this.#lines <= this.#perMinute) this.#report(line);
  }

  tick(now: number): void {
    if (now - this.#sinceMs < 60_000) return;
    const more = this.#lines - this.#perMinute;
    if (more > 0) this.#report(`${this.#what}, ${more} more within a minute`);
    this.#sinceMs = now;
    this.#lines = 0;
  }
}
