/**
 * What stands in `__consumer_offsets`, in Kafka's own form, so that Kafka's tools read it: the
 * first two bytes of a key say what it is, those of a value its version.
 *
 *     key 1: group, topic, partition  →  committed offset     (1 and 3 are written, 0-3 read)
 *     key 2: group                    →  members of a generation       (3 is written, 0-3 read)
 *
 * Source: Kafka's OffsetCommitKey, OffsetCommitValue, GroupMetadataKey and GroupMetadataValue.
 */
import { Malformed, Reader } from "../wire/reader.ts";
import {
  array,
  bytes,
  type Codec,
  field,
  int32,
  int64,
  nullableString,
  string,
  struct,
} from "../wire/schema.ts";
import { Writer } from "../wire/writer.ts";
import type { GroupSnapshot } from "./group-types.ts";

/** One partition's committed offset. */
export type Offset = {
  offset: number;
  leaderEpoch: number;
  metadata: string;
  /** ms. */
  committedMs: number;
  /** ms; null: as the node keeps offsets. */
  expiresMs: number | null;
};

export type GroupState = {
  snapshot: GroupSnapshot;
  /** ms; since when the group is as it is. -1: not known. */
  sinceMs: number;
};

export type GroupRecord =
  | { kind: "offset"; group: string; topic: string; partition: number; value: Offset | null }
  | { kind: "group"; group: string; value: GroupState | null };

const OFFSET_KEY = 1;
const GROUP_KEY = 2;
const VALUE_VERSIONS = 4;
const NONE = -1;

const offsetKey = struct({
  group: field("0+", string),
  topic: field("0+", string),
  partition: field("0+", int32),
}).codec(OFFSET_KEY, false);

const groupKey = struct({ group: field("0+", string) }).codec(GROUP_KEY, false);

const offsetValue = struct({
  offset: field("0+", int64),
  leaderEpoch: field("3+", int32, { default: NONE }),
  metadata: field("0+", string),
  commitTimestamp: field("0+", int64),
  expireTimestamp: field("1", int64, { default: NONE }),
});

const groupValue = struct({
  protocolType: field("0+", string),
  generation: field("0+", int32),
  protocol: field("0+", nullableString()),
  leader: field("0+", nullableString()),
  currentStateTimestamp: field("2+", int64, { default: NONE }),
  members: field(
    "0+",
    array(
      struct({
        memberId: field("0+", string),
        groupInstanceId: field("3+", nullableString("3+"), { default: null }),
        clientId: field("0+", string),
        clientHost: field("0+", string),
        rebalanceTimeout: field("1+", int32, { default: NONE }),
        sessionTimeout: field("0+", int32),
        subscription: field("0+", bytes),
        assignment: field("0+", bytes),
      }),
    ),
  ),
});

const versions = Array.from({ length: VALUE_VERSIONS }, (_, version) => version);
const offsetValues = versions.map((version) => offsetValue.codec(version, false));
const groupValues = versions.map((version) => groupValue.codec(version, false));

function encode<T>(version: number, codec: Codec<T>, value: T): Uint8Array {
  const writer = new Writer(128);
  writer.int16(version);
  codec.write(writer, value);
  return writer.bytes;
}

export const encodeOffsetKey = (group: string, topic: string, partition: number): Uint8Array =>
  encode(OFFSET_KEY, offsetKey, { group, topic, partition });

export const encodeGroupKey = (group: string): Uint8Array => encode(GROUP_KEY, groupKey, { group });

/** Only version 1 has a time of its own at which the offset goes. */
export function encodeOffset({ offset, leaderEpoch, metadata, ...times }: Offset): Uint8Array {
  const version = times.expiresMs === null ? 3 : 1;
  return encode(version, offsetValues[version], {
    offset,
    leaderEpoch,
    metadata,
    commitTimestamp: times.committedMs,
    expireTimestamp: times.expiresMs ?? NONE,
  });
}

export function encodeGroup({ snapshot, sinceMs }: GroupState): Uint8Array {
  return encode(3, groupValues[3], {
    ...snapshot,
    currentStateTimestamp: sinceMs,
    members: snapshot.members.map(({ rebalanceTimeoutMs, sessionTimeoutMs, ...member }) => {
      return { ...member, rebalanceTimeout: rebalanceTimeoutMs, sessionTimeout: sessionTimeoutMs };
    }),
  });
}

const reader = (b: Uint8Array): Reader =>
  new Reader(Buffer.from(b.buffer, b.byteOffset, b.byteLength));

/** Null: a record of another kind, which a later Kafka may have written. Throws `Malformed`. */
export function decode(key: Uint8Array, value: Uint8Array | null): GroupRecord | null {
  const r = reader(key);
  const kind = r.int16();
  if (kind <= OFFSET_KEY && kind >= 0) {
    const place = offsetKey.read(r);
    return { kind: "offset", ...place, value: value === null ? null : decodeOffset(value) };
  }
  if (kind !== GROUP_KEY) return null;
  const { group } = groupKey.read(r);
  return { kind: "group", group, value: value === null ? null : decodeGroup(value) };
}

function decodeValue<T>(value: Uint8Array, codecs: Codec<T>[]): T {
  const r = reader(value);
  const version = r.int16();
  const codec = codecs[version];
  if (codec === undefined) throw new Malformed(`a value of version ${version}`);
  return codec.read(r);
}

function decodeOffset(value: Uint8Array): Offset {
  const { offset, leaderEpoch, metadata, ...times } = decodeValue(value, offsetValues);
  const expiresMs = times.expireTimestamp === NONE ? null : times.expireTimestamp;
  return { offset, leaderEpoch, metadata, committedMs: times.commitTimestamp, expiresMs };
}

function decodeGroup(value: Uint8Array): GroupState {
  const { members, currentStateTimestamp: sinceMs, ...group } = decodeValue(value, groupValues);
  const snapshot = {
    ...group,
    members: members.map(({ rebalanceTimeout, sessionTimeout, ...member }) => ({
      ...member,
      sessionTimeoutMs: sessionTimeout,
      rebalanceTimeoutMs: rebalanceTimeout === NONE ? sessionTimeout : rebalanceTimeout,
    })),
  };
  return { snapshot, sinceMs };
}
