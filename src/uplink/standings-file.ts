/**
 * What the uplink keeps beside the log: who this gateway is in the cluster, and where each
 * partition stands there. A small file, written aside and renamed: one line with the CRC of the
 * next, and JSON.
 */
import { open, readFile, rename, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { crcOf } from "../batch/header.ts";
import { isDiskFull } from "../log/environment.ts";
import { MilepostError } from "../model/errors.ts";
import type { Standing } from "./forwarding.ts";

export type TopicStandings = {
  /** uuid of the topic in the cluster, and of the one here. */
  there: string;
  here: string;
  partitions: Standing[];
};
export type Standings = {
  producer: { id: number; epoch: number };
  /** Whose producer that is: see `StandingsFile.home`. */
  home: number;
  topics: Record<string, TopicStandings>;
};

export class StandingsFile {
  readonly #path: string;
  #writing: Promise<unknown> = Promise.resolve();
  #written = "";

  constructor(dataDir: string) {
    this.#path = join(dataDir, "uplink.json");
  }

  /** A copy of the directory has another one: the inode of a file that is never replaced. */
  async home(): Promise<number> {
    return (await stat(join(dirname(this.#path), "meta.mdb"))).ino;
  }

  /** Null: there was none yet. Throws `damaged`. */
  async read(): Promise<Standings | null> {
    let text: string;
    try {
      text = await readFile(this.#path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw error;
    }
    const [crc, json = ""] = text.split("\n");
    if (crc === checksum(json)) return JSON.parse(json) as Standings;
    const next = "without it everything in the log is sent to the cluster once more";
    throw new MilepostError("damaged", `${this.#path}; ${next}`);
  }

  /** On disk when it resolves with true; false: the disk is full, and all is as it was. */
  write(standings: Standings): Promise<boolean> {
    const json = JSON.stringify(standings);
    const writing = this.#writing.then(async () => {
      try {
        await this.#replace(json);
        return true;
      } catch (error) {
        if (!isDiskFull(error)) throw error;
        return false;
      }
    });
    this.#writing = writing;
    return writing;
  }

  async #replace(json: string): Promise<void> {
    if (json === this.#written) return;
    const aside = `${this.#path}.new`;
    const file = await open(aside, "w");
    try {
      await file.writeFile(`${checksum(json)}\n${json}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(aside, this.#path);
    const dir = await open(dirname(this.#path), "r");
    try {
      await dir.sync();
    } finally {
      await dir.close();
    }
    this.#written = json;
  }
}

const checksum = (json: string): string => crcOf(Buffer.from(json)).toString(16).padStart(8, "0");
