/**
 * A folder of Parquet files: `topic=T/date=D/hour=H/T-PARTITION-START20.parquet`. A partition's
 * files are a chain: where one ends the next one starts. A file is written aside and published by
 * a link, which fails where the name exists: of all who write from one START on, one succeeds.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import {
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { limits } from "../model/limits.ts";

const hourMs = 3_600_000;
const nothing = { topicId: "", group: "", start: 0, end: 0, file: null };
/** 9999-12-31: what a date of ten characters can say. */
const timeMsMax = 253_402_300_799_999;

/** What is in a file's footer, beside `topic` and `partition`. */
export type FileNote = { topicId: string; group: string; start: number; end: number };
/** `file` below the topic's folder; null: nothing was written yet, or it is no longer there. */
export type Newest = FileNote & { file: string | null };
export type ParquetFile = FileNote & { topic: string; partition: number; hour: number };

/** Reads a file's footer. */
export type ReadNote = (file: string) => Promise<FileNote>;

/** Hours since 1970 (UTC) of a record's receipt. */
export function hourOf(ms: number): number {
  return Math.floor(Math.min(Math.max(ms, 0), timeMsMax) / hourMs);
}

export const topicPrefix = "topic=";

export function topicFolder(topic: string): string {
  return topicPrefix + topic;
}

function hourFolder(hour: number): string {
  const [date, time] = new Date(hour * hourMs).toISOString().split("T");
  return join(`date=${date}`, `hour=${time.slice(0, 2)}`);
}

function fileName(topic: string, partition: number, start: number): string {
  return `${topic}-${partition}-${String(start).padStart(20, "0")}.parquet`;
}

export class ParquetFolder {
  readonly dir: string;
  readonly #readNote: ReadNote;
  readonly #own = randomBytes(4).toString("hex");
  /** Folders that are on the disk with all above them. */
  readonly #made = new Set<string>();
  #temporaries = 0;

  constructor(dir: string, readNote: ReadNote) {
    this.dir = resolve(dir);
    this.#readNote = readNote;
  }

  /** Makes the folder where there is none, and clears what workers that died left. */
  async prepare(): Promise<void> {
    const aside = this.#aside();
    await mkdir(aside, { recursive: true });
    for (const name of await readdir(aside)) {
      const file = join(aside, name);
      if (await isLeftOver(file, name)) await rm(file, { force: true });
    }
  }

  /** A name aside, in the same file system. */
  temporary(): string {
    return join(this.#aside(), `${hostname()}-${process.pid}-${this.#own}-${++this.#temporaries}`);
  }

  async discard(temporary: string): Promise<void> {
    await rm(temporary, { force: true });
  }

  /** False: the chain goes on from there already, or goes on elsewhere. */
  async publish(temporary: string, file: ParquetFile): Promise<boolean> {
    const { topic, partition, hour, start, end, topicId, group } = file;
    await sync(temporary);
    const folder = await this.#make(topic, hour);
    // one that stood still while the log dropped its records could be alone with its START
    const known = await this.#known(topic, partition);
    if (known !== null && known.end > start) return false;
    const name = fileName(topic, partition, start);
    try {
      await link(temporary, join(folder, name));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EEXIST") return false;
      // the day was taken away: the next try makes it again
      if (code === "ENOENT") this.#made.clear();
      throw error;
    }
    await sync(folder);
    const newest = { topicId, group, start, end, file: join(hourFolder(hour), name) };
    await this.#remember(topic, partition, newest);
    return true;
  }

  /**
   * The end of each partition's chain. What was remembered is where to look, so that years of
   * folders are not read; whatever was published since is found by its name.
   */
  async newest(topic: string, partitions: number[]): Promise<Map<number, Newest>> {
    const folders = await this.#folders(topic);
    const found = new Map<number, Newest>();
    const gone: number[] = [];
    for (const partition of partitions) {
      const known = await this.#known(topic, partition);
      const there = known !== null && (known.file === null || this.#has(topic, known.file));
      if (there) found.set(partition, known);
      else gone.push(partition);
    }
    await this.#search(topic, folders, new Set(gone), found);
    for (const partition of gone) {
      // its files were taken away, as one does with old ones: never back behind them
      const known = await this.#known(topic, partition);
      const there = found.get(partition) ?? nothing;
      found.set(
        partition,
        known === null || known.end < there.end ? there : { ...known, file: null },
      );
    }
    for (const [partition, newest] of found) {
      const last = await this.#follow(topic, folders, partition, newest);
      found.set(partition, last);
      await this.#remember(topic, partition, last);
    }
    return found;
  }

  /** From the newest hour back, until each has a file. */
  async #search(
    topic: string,
    folders: string[],
    missing: Set<number>,
    found: Map<number, Newest>,
  ): Promise<void> {
    for (const folder of folders) {
      if (missing.size === 0) return;
      const starts = new Map<number, number>();
      for (const name of await namesIn(join(this.dir, topicFolder(topic), folder))) {
        const [, partition, start] = /^.*-(\d+)-(\d{20})\.parquet$/.exec(name)?.map(Number) ?? [];
        if (!missing.has(partition)) continue;
        starts.set(partition, Math.max(start, starts.get(partition) ?? 0));
      }
      for (const [partition, start] of starts) {
        const file = join(folder, fileName(topic, partition, start));
        found.set(partition, { ...(await this.#read(topic, file)), file });
        missing.delete(partition);
      }
    }
  }

  async #follow(
    topic: string,
    folders: string[],
    partition: number,
    from: Newest,
  ): Promise<Newest> {
    for (let newest = from; ;) {
      const name = fileName(topic, partition, newest.end);
      const folder = folders.find((one) => this.#has(topic, join(one, name)));
      if (folder === undefined) return newest;
      const file = join(folder, name);
      newest = { ...(await this.#read(topic, file)), file };
    }
  }

  #read(topic: string, file: string): Promise<FileNote> {
    return this.#readNote(join(this.dir, topicFolder(topic), file));
  }

  #has(topic: string, file: string): boolean {
    return existsSync(join(this.dir, topicFolder(topic), file));
  }

  /** Folders of hours, the newest first. */
  async #folders(topic: string): Promise<string[]> {
    const top = join(this.dir, topicFolder(topic));
    const folders: string[] = [];
    for (const date of (await namesIn(top)).filter((name) => name.startsWith("date="))) {
      for (const hour of await namesIn(join(top, date))) {
        if (hour.startsWith("hour=")) folders.push(join(date, hour));
      }
    }
    return folders.sort().reverse();
  }

  async #make(topic: string, hour: number): Promise<string> {
    const folder = join(this.dir, topicFolder(topic), hourFolder(hour));
    if (this.#made.has(folder)) return folder;
    await mkdir(folder, { recursive: true });
    let above = folder;
    do {
      above = dirname(above);
      await sync(above);
    } while (above !== this.dir && above !== dirname(above));
    if (this.#made.size > 100) this.#made.clear();
    this.#made.add(folder);
    return folder;
  }

  #aside(): string {
    return join(this.dir, "_tmp");
  }

  #noteFile(topic: string, partition: number): string {
    return join(this.dir, topicFolder(topic), "_newest", `${partition}.json`);
  }

  /** What was written down last; a start without it takes longer. */
  async #known(topic: string, partition: number): Promise<Newest | null> {
    try {
      const text = await readFile(this.#noteFile(topic, partition), "utf8");
      const known = JSON.parse(text) as Newest;
      return Number.isSafeInteger(known.end) ? known : null;
    } catch {
      return null;
    }
  }

  async #remember(topic: string, partition: number, newest: Newest): Promise<void> {
    const file = this.#noteFile(topic, partition);
    const temporary = this.temporary();
    try {
      await mkdir(dirname(file), { recursive: true });
      await writeFile(temporary, JSON.stringify(newest));
      await rename(temporary, file);
    } catch {
      await rm(temporary, { force: true });
    }
  }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  await handle.sync().finally(() => handle.close());
}

/** Its worker is dead: of this machine, or so old that none can be writing to it. */
async function isLeftOver(file: string, name: string): Promise<boolean> {
  const [, host, pid] = /^(.*)-(\d+)-[0-9a-f]{8}-\d+$/.exec(name) ?? [];
  if (host === hostname() && !isAlive(Number(pid))) return true;
  const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Infinity }));
  return Date.now() - mtimeMs > limits.parquetTemporaryMsMax;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // one before us had our number: it is dead, and what is ours is not there yet
    return pid !== process.pid;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
