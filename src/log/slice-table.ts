/** The table of a sealed slice: from its file, a chunk at a time. Any thread may look things up. */
import { MilepostError } from "../model/errors.ts";
import { tableKey, type Environment } from "./environment.ts";
import { PartitionIndex } from "./slice-index.ts";

/** Chunks of a table in memory, 16 KB each. */
const CHUNKS_KEPT = 8;

export type Place = { index: PartitionIndex; row: number };

/**
 * The first batch of a partition that ends at or after `offset`; null when there is none. `chunks`
 * keeps what was read, a chunk a partition: readers go forward.
 */
export function locateInTable(
  env: Environment,
  chunks: Map<number, PartitionIndex>,
  path: string,
  partition: number,
  offset: number,
): Place | null {
  let index = chunks.get(partition);
  if (index === undefined || !(offset <= index.last[index.count - 1] && offset >= index.base[0])) {
    const loaded = loadChunk(env, path, partition, offset);
    if (loaded === null) return null;
    index = loaded;
    chunks.delete(partition);
    for (const other of chunks.keys()) {
      if (chunks.size < CHUNKS_KEPT) break;
      chunks.delete(other);
    }
    chunks.set(partition, index);
  }
  return { index, row: index.find(offset) };
}

function loadChunk(
  env: Environment,
  path: string,
  partition: number,
  offset: number,
): PartitionIndex | null {
  const range = { start: tableKey(partition, offset), end: tableKey(partition + 1, 0), limit: 1 };
  for (const { value } of env.getRange(range)) {
    const chunk = PartitionIndex.decodeChunk(value);
    if (chunk === null) throw new MilepostError("damaged", `table of ${path}`);
    return chunk;
  }
  return null;
}
