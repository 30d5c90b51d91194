/**
 * Writes a slice anew from what is whole in its file, and puts the damaged file aside: LMDB must
 * not write to a tree that is damaged, and nothing is thrown away.
 */
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { lastOffsetDelta } from "../batch/header.ts";
import { HEADER_BYTES } from "../batch/layout.ts";
import { keepRows, readHead } from "./commit-value.ts";
import { syncDirectory } from "./environment.ts";
import type { Environments } from "./environments.ts";
import type { Manifest } from "./manifest.ts";
import { readHeaders, readSlice, REBOOTED, type Bad, type RecoveryReport } from "./recovery.ts";
import { Slice } from "./slice.ts";
import type { Topic } from "./topic.ts";

/** Bytes put in one transaction. */
const STEP_BYTES = 4 * 1024 * 1024;

type Target = {
  manifest: Manifest;
  environments: Environments;
  /** For the damaged file. */
  aside: string;
};

/** The same slice without the batches in `cut`, in a file of its own; the manifest lists it. */
export function salvage(
  topic: Topic,
  slice: Slice,
  cut: Bad[],
  { manifest, environments, aside }: Target,
  report: RecoveryReport,
): Slice {
  mkdirSync(aside, { recursive: true });
  const file = join(aside, `${topic.row.dir}-${basename(slice.path)}-${report.epoch}`);
  copyFileSync(slice.path, file);
  syncDirectory(aside);

  const byKey = new Map<string, Bad[]>();
  for (const b of cut) byKey.set(b.key, [...(byKey.get(b.key) ?? []), b]);
  const row = { ...slice.row, generation: slice.row.generation + 1 };
  const { meta, headers } = readHeaders(slice.path);
  // of an earlier try that did not come to its end
  rmSync(topic.sliceFile(row), { force: true });
  const out = Slice.create(topic.sliceFile(row), row, meta, headers, environments);
  let pending: [key: Buffer, value: Uint8Array][] = [];
  let bytes = 0;
  const flush = (): void => {
    out.putValues(pending);
    pending = [];
    bytes = 0;
  };
  const onValue = (key: Buffer, value: Buffer): void => {
    const left = withoutCut(value, byKey.get(key.toString("hex")));
    if (left === null) return;
    pending.push([Buffer.from(key), left]);
    if ((bytes += left.byteLength) >= STEP_BYTES) flush();
  };
  const lost: string[] = [];
  readSlice(slice.path, onValue, (what) => what !== REBOOTED && lost.push(what));
  flush();
  manifest.putSlice(topic.row.id, row);
  manifest.commit();
  slice.unlink();

  const { name } = topic.row;
  for (const { row: r, batch } of cut) {
    const known = r !== null && batch.byteLength >= HEADER_BYTES;
    const to = known ? r.baseOffset + lastOffsetDelta(batch) : -1;
    const from = r?.baseOffset ?? -1;
    const partition = r?.partition ?? -1;
    report.cut.push({ topic: name, partition, from, to, bytes: batch.byteLength, file });
  }
  if (lost.length > 0 && cut.length === 0) {
    report.cut.push({ topic: name, partition: -1, from: -1, to: -1, bytes: 0, file });
  }
  return out;
}

function withoutCut(value: Buffer, cut: Bad[] | undefined): Uint8Array | null {
  if (cut === undefined) return value;
  const head = readHead(value);
  if (head === null) return null;
  const gone = new Set(cut.map((b) => b.row?.position));
  return keepRows(value, head, (row) => !gone.has(row.position));
}
