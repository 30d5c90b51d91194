import { existsSync } from "node:fs";
import type { DirectoryLock } from "../node/lock.ts";
import { lockDirectory } from "../node/lock.ts";
import { CommandFailure } from "./failure.ts";

/**
 * Holds a data directory so that no gateway starts on it meanwhile. Throws `locked`, naming the
 * process, when one runs; a directory that may not be written (a backup) needs no lock.
 */
export async function holdDirectory(dir: string): Promise<DirectoryLock> {
  // the lock would make it
  if (!existsSync(dir)) throw new CommandFailure(`there is no directory ${dir}`);
  try {
    return await lockDirectory(dir);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EACCES" || code === "EROFS" || code === "EPERM") return { release: () => {} };
    throw error;
  }
}
