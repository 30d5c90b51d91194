/**
 * Read-only environments of sealed slices, opened on demand. An environment costs three
 * descriptors, some memory and a millisecond to open, so the least recently used is closed.
 */
import { existsSync } from "node:fs";
import { MilepostError } from "../model/errors.ts";
import { openToRead, type Environment } from "./environment.ts";
import { LmdbFile } from "./lmdb-file.ts";

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
      checkStructure(path);
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

/** LMDB trusts its pages, and a damaged one leads it out of the process: look before. */
function checkStructure(path: string): void {
  if (!existsSync(path)) throw new MilepostError("damaged", `${path} is missing`);
  const file = new LmdbFile(path);
  const damage = file.structureDamage();
  file.close();
  if (damage !== null) throw new MilepostError("damaged", `${path}: ${damage}`);
}
