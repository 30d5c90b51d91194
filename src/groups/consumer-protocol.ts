/**
 * What consumers write into a group's opaque bytes, as far as the coordinator looks at it. Version
 * 0 is a prefix of all later ones, so only that is read.
 *
 *     subscription: version int16 | topics [string] | …
 *     assignment:   version int16 | [topic string | partitions [int32]] | …
 */
import { Malformed, Reader } from "../wire/reader.ts";
import { array, field, int32, string, struct } from "../wire/schema.ts";
import type { JoinedMember } from "./group-types.ts";

const subscription = struct({ topics: field("0+", array(string)) }).codec(0, false);
const assignment = struct({
  topics: field(
    "0+",
    array(struct({ topic: field("0+", string), partitions: field("0+", array(int32)) })),
  ),
}).codec(0, false);

function read<T>(bytes: Uint8Array | undefined, from: (r: Reader) => T): T | null {
  if (bytes === undefined) return null;
  const reader = new Reader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  try {
    reader.int16();
    return from(reader);
  } catch (error) {
    if (error instanceof Malformed) return null;
    throw error;
  }
}

const topics = (metadata: Uint8Array | undefined): string[] | null =>
  read(metadata, (r) => subscription.read(r).topics);

/** Topics of all members; null: one of them does not speak this protocol. */
export function topicsOf(members: JoinedMember[]): Set<string> | null {
  const all = new Set<string>();
  for (const { metadata } of members) {
    const some = topics(metadata);
    if (some === null) return null;
    for (const topic of some) all.add(topic);
  }
  return all;
}

/** Subscriptions to the same topics; bytes that are none are not compared. */
export function sameTopics(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  const [was, is] = [topics(a), topics(b)];
  if (was === null || is === null) return true;
  const before = new Set(was);
  const after = new Set(is);
  return before.size === after.size && [...after].every((topic) => before.has(topic));
}

/** Null: not the consumers' protocol. */
export function partitionsOf(bytes: Uint8Array): [topic: string, partition: number][] | null {
  return read(bytes, (r) =>
    assignment
      .read(r)
      .topics.flatMap(({ topic, partitions }) =>
        partitions.map((p): [string, number] => [topic, p]),
      ),
  );
}
