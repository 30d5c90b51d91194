/**
 * Read-only environments of sealed slices, opened on demand. An environment costs three
 * descriptors, some memory and a millisecond to open, so the least recently used is closed.
 */
import { openToRead, type Environment } from "./environment.ts";

export class Environments {
  readonly #open = new Map<string, Environment>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#open.size;
  }

  get(path: string): Environment {
    let env = this.#open.get(path);
    if (env === undefined) {
      env = openToRead(path);
      for (const oldest of this.#open.keys()) {
        if (this.#open.size < this.#max) break;
        this.drop(oldest);
      }
    } else {
      this.#open.delete(path);
    }
    this.#open.set(path, env);
    return env;
  }

  drop(path: string): void {
    void this.#open.get(path)?.close();
    this.#open.delete(path);
  }

  close(): void {
    for (const path of this.#open.keys()) this.drop(path);
  }
}
