/**
 * Files under `topics/` that the manifest does not list. Nearly all are remains: a slice whose
 * roll or rewrite did not come to its end, one that was replaced or expired, a deleted topic. But
 * a manifest put back from an older copy does not list what came after it either, so nothing that
 * may hold the only copy of a record is deleted here.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { MilepostError } from "../model/errors.ts";
import { KIND_VALUE, syncDirectory } from "./environment.ts";
import { LmdbFile } from "./lmdb-file.ts";
import { sliceFile, type Manifest, type TopicRow } from "./manifest.ts";

/**
 * Run before anything is recovered. Returns where it put what may hold records. Throws `damaged`
 * when slices prove that the manifest is older than they are: going on would give offsets twice.
 */
export function sweepStrays(dir: string, manifest: Manifest): string[] {
  const topicsDir = join(dir, "topics");
  const gone: string[] = [];
  const aside: string[] = [];
  const topics = new Map([...manifest.topics.values()].map((row) => [row.dir, row]));
  const deleted = new Set(manifest.deleted.values());
  for (const name of readdirSync(topicsDir)) {
    const path = join(topicsDir, name);
    const topic = topics.get(name);
    if (topic !== undefined) sortSlices(path, topic, manifest, gone, aside);
    else if (deleted.has(name) || readdirSync(path).every((f) => isEmpty(join(path, f)))) {
      gone.push(path);
    } else aside.push(path);
  }
  for (const path of gone) rmSync(path, { recursive: true, force: true });
  for (const id of manifest.deleted.keys()) manifest.forget(id);
  return aside.map((path) => putAside(dir, path, manifest.node.epoch + 1));
}

function sortSlices(
  dir: string,
  topic: TopicRow,
  manifest: Manifest,
  gone: string[],
  aside: string[],
): void {
  const listed = new Set((manifest.slices.get(topic.id) ?? []).map(sliceFile));
  const complete = [...listed].every((file) => existsSync(join(dir, file)));
  for (const file of readdirSync(dir)) {
    const path = join(dir, file);
    if (listed.has(file.replace(/-lock$/, ""))) continue;
    // a slice takes records only after the manifest lists it
    const early = Number.parseInt(file, 10) >= topic.nextSeq;
    const content = early || !complete ? contentOf(path) : "nothing";
    if (early && content === "records") {
      const detail = `${path} holds records, but meta.mdb does not list it: an older copy of it?`;
      throw new MilepostError("damaged", detail);
    }
    (content === "nothing" ? gone : aside).push(path);
  }
}

const isEmpty = (path: string): boolean => contentOf(path) === "nothing";

function contentOf(path: string): "records" | "nothing" | "unreadable" {
  if (path.endsWith("-lock")) return "nothing";
  let damaged = false;
  let file: LmdbFile;
  try {
    file = new LmdbFile(path);
  } catch (error) {
    if (error instanceof MilepostError) return "unreadable";
    throw error;
  }
  try {
    for (const { key } of file.entries(() => (damaged = true))) {
      if (key[0] === KIND_VALUE) return "records";
    }
    return damaged ? "unreadable" : "nothing";
  } finally {
    file.close();
  }
}

function putAside(dir: string, path: string, epoch: number): string {
  const damagedDir = join(dir, "damaged");
  mkdirSync(damagedDir, { recursive: true });
  const parent = basename(join(path, ".."));
  const name = parent === "topics" ? basename(path) : `${parent}-${basename(path)}`;
  const target = join(damagedDir, `${name}-${epoch}`);
  renameSync(path, target);
  syncDirectory(damagedDir);
  return target;
}
