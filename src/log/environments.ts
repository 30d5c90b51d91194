/**
 * Read-only environments of sealed slices, opened on demand. An environment costs three
 * descriptors, some memory and a millisecond to open, so the least recently used is closed.
 *
 * LMDB trusts its pages, and a damaged one leads it out of the process: the tree is looked at
 * before it is opened first. That is a third of a second for a large slice of small values, so it
 * goes in steps.
 */
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { openToRead, orDiskFull, type Environment } from "./environment.ts";
import { LmdbFile } from "./lmdb-file.ts";
import type { PartitionIndex } from "./slice-index.ts";

type Open = {
  env: Environment;
  /** Chunks of the slice's table, the one read last per partition: readers go forward. */
  chunks: Map<number, PartitionIndex>;
};
type Check = { file: LmdbFile; steps: Generator<void, string | null> };

export class Environments {
  readonly #open = new Map<string, Open>();
  readonly #checks = new Map<string, Check>();
  /** Their trees were looked at: nobody writes there any more. */
  readonly #sound = new Set<string>();
  /** Found once, and not healed while the node runs. */
  readonly #damaged = new Map<string, MilepostError>();
  readonly #max: number;
  /** A file that nobody may keep open: it is closed for good, or gone. */
  onForgotten: (path: string) => void = () => {};

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#open.size;
  }

  get(path: string): Environment {
    return this.#get(path).env;
  }

  /** Forgotten with the environment. */
  chunks(path: string): Map<number, PartitionIndex> {
    return this.#get(path).chunks;
  }

  /** Whether `get` answers, or throws, at once; else a step of the check is done: ask again. */
  prepare(path: string): boolean {
    return this.#isReady(path) || this.#check(path, performance.now() + limits.logStepMs);
  }

  #isReady(path: string): boolean {
    return this.#open.has(path) || this.#damaged.has(path);
  }

  #get(path: string): Open {
    if (!this.#isReady(path)) this.#check(path, Infinity);
    const open = this.#open.get(path);
    if (open === undefined) throw this.#damaged.get(path);
    this.#open.delete(path);
    this.#open.set(path, open);
    return open;
  }

  /** True when it came to its end: the slice is open then, or known to be damaged. */
  #check(path: string, untilMs: number): boolean {
    let env: Environment | null;
    try {
      env = this.#checked(path, untilMs);
    } catch (error) {
      this.#endCheck(path);
      const damage = damageOf(error, path);
      if (damage === null) throw error;
      this.#damaged.set(path, damage);
      return true;
    }
    if (env === null) return false;
    for (const oldest of this.#open.keys()) {
      if (this.#open.size < this.#max) break;
      this.#close(oldest);
    }
    this.#open.set(path, { env, chunks: new Map() });
    return true;
  }

  #checked(path: string, untilMs: number): Environment | null {
    if (this.#sound.has(path)) return orDiskFull(() => openToRead(path));
    let check = this.#checks.get(path);
    if (check === undefined) {
      const file = new LmdbFile(path);
      check = { file, steps: file.checkStructure() };
      this.#checks.set(path, check);
    }
    let step = check.steps.next();
    while (step.done !== true && performance.now() < untilMs) step = check.steps.next();
    if (step.done !== true) return null;
    this.#endCheck(path);
    if (step.value !== null) throw new MilepostError("damaged", `${path}: ${step.value}`);
    this.#sound.add(path);
    return orDiskFull(() => openToRead(path));
  }

  #endCheck(path: string): void {
    this.#checks.get(path)?.file.close();
    this.#checks.delete(path);
  }

  /** The slice is closed for good, or gone. */
  forget(path: string): void {
    this.#endCheck(path);
    this.#sound.delete(path);
    this.#damaged.delete(path);
    this.#close(path);
    this.onForgotten(path);
  }

  #close(path: string): void {
    void this.#open.get(path)?.env.close();
    this.#open.delete(path);
  }

  close(): void {
    for (const path of [...this.#checks.keys(), ...this.#open.keys()]) {
      this.#endCheck(path);
      this.#close(path);
    }
  }
}

/** A file may be deleted at any moment while another thread is about to read it. */
function damageOf(error: unknown, path: string): MilepostError | null {
  if (error instanceof MilepostError) return error.code === "damaged" ? error : null;
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") return null;
  return new MilepostError("damaged", `${path} is missing`);
}
