import { existsSync } from "node:fs";
import type { FileDamage, Progress } from "../log/verify.ts";
import { MilepostError } from "../model/errors.ts";
import type { Finding } from "./machine-checks.ts";
import { holdDirectory } from "./stopped-directory.ts";
import { progressLine } from "./terminal.ts";

const name = "data directory";

/** Damage beyond this is counted, not listed. */
const listedMax = 100;

/** Every checksum of a stopped gateway's log. A running one's files change under the reader. */
export async function checkData(dir: string): Promise<Finding[]> {
  if (!existsSync(dir)) return [{ name, state: "ok", detail: `${dir} is not there yet` }];
  try {
    const lock = await holdDirectory(dir);
    try {
      return await verify(dir);
    } finally {
      lock.release();
    }
  } catch (error) {
    if (error instanceof MilepostError && error.code === "locked") {
      const detail = `${error.message}; its checksums can be checked once that has stopped`;
      return [{ name, state: "warning", detail }];
    }
    return [{ name, state: "failed", detail: (error as Error).message }];
  }
}

async function verify(dir: string): Promise<Finding[]> {
  const { verifyDirectory } = await import("../log/verify.ts");
  let files = 0;
  const show = (progress: Progress): void => {
    files = progress.files;
    progressLine(`checking file ${progress.filesDone + 1} of ${files}`);
  };
  const damages = verifyDirectory(dir, show);
  progressLine("");
  if (damages.length === 0) {
    return [{ name, state: "ok", detail: `${dir}: every checksum of ${files} files is right` }];
  }
  const listed = damages.slice(0, listedMax).map(place);
  const more = damages.length - listed.length;
  if (more > 0) listed.push(`and ${more} more places`);
  return listed.map((detail) => ({ name, state: "failed", detail }));
}

function place({ file, topic, partition, offset, what }: FileDamage): string {
  const where = partition < 0 ? topic : `${topic}/${partition}`;
  const at = offset < 0 ? where : `${where} at offset ${offset}`;
  return at === "" ? `${file}: ${what}` : `${at} in ${file}: ${what}`;
}
