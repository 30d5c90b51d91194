import { closeSync, openSync, writeSync } from "node:fs";

/**
 * A line for each acknowledged ping, `{"id","seq","ts"}`: what a log is compared with after
 * whatever was done to the gateway. Lines are buffered; `flush` writes them out.
 */
export class Ledger {
  readonly #file: number;
  #lines: string[] = [];

  constructor(path: string) {
    this.#file = openSync(path, "w");
  }

  add(id: string, seq: number, ts: number): void {
    this.#lines.push(`{"id":${JSON.stringify(id)},"seq":${seq},"ts":${ts}}\n`);
  }

  flush(): void {
    if (this.#lines.length === 0) return;
    const bytes = Buffer.from(this.#lines.join(""));
    this.#lines = [];
    for (let done = 0; done < bytes.length;) done += writeSync(this.#file, bytes, done);
  }

  close(): void {
    this.flush();
    closeSync(this.#file);
  }
}
