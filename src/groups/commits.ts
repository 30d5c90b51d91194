/**
 * Committed offsets: written, read, deleted, expired. A commit is answered once the log has it; it
 * can be read from then on. All changes go through the journal, so what memory holds is what the
 * log says, in the log's order.
 */
import type { LogPort } from "../log/client.ts";
import { limits } from "../model/limits.ts";
import { E } from "../wire/errors.ts";
import { Group } from "./group.ts";
import type { Identity } from "./group-types.ts";
import type { Journal, Write } from "./journal.ts";
import { expired, type NewOffset, offsetBytes, type Place } from "./offsets.ts";
import { encodeGroupKey, encodeOffset, encodeOffsetKey, type Offset } from "./records.ts";
import type { Entry, GroupTable } from "./table.ts";

export type CommitRequest = {
  group: string;
  member: Identity;
  /** -1: not as a member. */
  generation: number;
  /** ms; negative: as the node keeps offsets. */
  retentionMs: number;
  /** Whether GROUP_ID_NOT_FOUND is known to the client. */
  knowsGroupNotFound: boolean;
  offsets: readonly CommittedPlace[];
};
type CommittedPlace = Place & { offset: number; leaderEpoch: number; metadata: string };

export type FetchedTopic = { name: string; partitions: FetchedPartition[] };
type FetchedPartition = {
  partitionIndex: number;
  committedOffset: number;
  committedLeaderEpoch: number;
  metadata: string;
  errorCode: number;
};

export type CommitsOptions = {
  table: GroupTable;
  journal: Journal;
  log: Pick<LogPort, "topic">;
  /** ms. */
  now(): number;
  /** ms on the clock that the groups run by. */
  running(): number;
  /** A group has changed. */
  changed(entry: Entry): void;
  counted(offsets: number): void;
};

export class Commits {
  readonly #on: CommitsOptions;
  /** Topics that are gone, and since when (ms): commits from before that are to go, too. */
  readonly #gone = new Map<string, number>();
  #forgetting = false;

  constructor(on: CommitsOptions) {
    this.#on = on;
  }

  /** An error code for each offset; those that are good are written together. */
  async commit(request: CommitRequest): Promise<number[]> {
    const { table } = this.#on;
    const errors = request.offsets.map((place) => this.#checkPlace(place));
    const known = errors.some((error) => error !== E.UNKNOWN_TOPIC_OR_PARTITION);
    const groupError = known ? this.#checkGroup(request) : E.NONE;
    const mayCreate = !table.isFull || table.get(request.group) !== undefined;
    const refused = groupError || (mayCreate ? E.NONE : E.POLICY_VIOLATION);
    const isGood = (_: unknown, i: number): boolean => errors[i] === E.NONE;
    const good = request.offsets.filter(isGood);
    const error = refused || (good.length === 0 ? E.NONE : await this.#commit(request, good));
    return errors.map((own) =>
      own === E.UNKNOWN_TOPIC_OR_PARTITION ? own : refused || own || error,
    );
  }

  #checkPlace({ topic, partition, metadata }: CommittedPlace): number {
    const error = this.checkPartition(topic, partition);
    if (error !== E.NONE) return error;
    const fits = Buffer.byteLength(metadata) <= limits.offsetMetadataBytesMax;
    return fits ? E.NONE : E.OFFSET_METADATA_TOO_LARGE;
  }

  checkPartition(topic: string, partition: number): number {
    const partitions = this.#on.log.topic(topic)?.partitions ?? 0;
    return partition >= 0 && partition < partitions ? E.NONE : E.UNKNOWN_TOPIC_OR_PARTITION;
  }

  #checkGroup({ group, member, generation, knowsGroupNotFound }: CommitRequest): number {
    const { table, running, changed } = this.#on;
    const error = table.check(group, true);
    if (error !== E.NONE) return error;
    const entry = table.get(group);
    if (entry === undefined) {
      if (generation < 0) return E.NONE;
      return knowsGroupNotFound ? E.GROUP_ID_NOT_FOUND : E.ILLEGAL_GENERATION;
    }
    const refused = entry.group.commit(member, generation, running());
    changed(entry);
    return refused;
  }

  #commit({ group, retentionMs }: CommitRequest, places: readonly CommittedPlace[]) {
    const { table, now } = this.#on;
    const committedMs = now();
    const expiresMs = retentionMs < 0 ? null : safe(committedMs + retentionMs);
    const commits = places.map(({ topic, partition, offset, leaderEpoch, metadata }): NewOffset => {
      const value = { offset: safe(offset), leaderEpoch, metadata, committedMs, expiresMs };
      return { topic, partition, value };
    });
    return this.#write(table.get(group) ?? table.add(new Group(group), committedMs), commits);
  }

  /** All of them or none. */
  async #write(entry: Entry, commits: readonly NewOffset[]): Promise<number> {
    const { table, journal, counted } = this.#on;
    const { group, offsets, committing } = entry;
    let bytes = 0;
    for (const { topic, partition, value } of commits) {
      const before = offsets.get(topic, partition);
      bytes += offsetBytes(value.metadata) - (before ? offsetBytes(before.metadata) : 0);
    }
    // who only goes on needs no room
    if (bytes > 0 && !table.hasRoom(bytes)) {
      this.#on.changed(entry);
      return E.INVALID_COMMIT_OFFSET_SIZE;
    }
    const writes = commits.map(({ topic, partition, value }) => {
      return { key: encodeOffsetKey(group.id, topic, partition), value: encodeOffset(value) };
    });
    committing.add(commits);
    const error = await journal.append(group.id, writes, () => {
      for (const { topic, partition, value } of commits) offsets.set(topic, partition, value);
      table.weigh(entry);
      counted(commits.length);
    });
    committing.delete(commits);
    this.#on.changed(entry);
    return error;
  }

  /** Null topics: all that the group has. What was never committed is -1. */
  fetch(
    group: string,
    topics: readonly { name: string; partitionIndexes: readonly number[] }[] | null,
  ): { errorCode: number; topics: FetchedTopic[] } {
    const { table } = this.#on;
    const errorCode = table.check(group, true);
    if (errorCode !== E.NONE) return { errorCode, topics: [] };
    const offsets = table.get(group)?.offsets;
    // each is answered once: its metadata may be long
    const wanted = new Map<string, Set<number>>();
    for (const { name, partitionIndexes } of topics ?? []) {
      const partitions = wanted.get(name) ?? new Set();
      for (const p of partitionIndexes) partitions.add(p);
      wanted.set(name, partitions);
    }
    if (topics === null) {
      for (const name of offsets?.topics() ?? []) {
        wanted.set(name, new Set(offsets?.partitions(name).keys()));
      }
    }
    const fetched = Array.from(wanted, ([name, partitions]) => ({
      name,
      partitions: Array.from(partitions, (p) => fetchedPartition(p, offsets?.get(name, p))),
    }));
    return { errorCode, topics: fetched };
  }

  /** OffsetDelete: an error for the group, and one for each place. */
  async deleteOffsets(
    group: string,
    places: readonly Place[],
  ): Promise<{ errorCode: number; errors: number[] }> {
    const errors = places.map(({ topic, partition }) => this.checkPartition(topic, partition));
    const entry = this.#on.table.get(group);
    const errorCode = this.#on.table.check(group) || checkDelete(entry);
    if (errorCode !== E.NONE || entry === undefined) return { errorCode, errors };
    const { state } = entry.group;
    const topics = state === "Empty" ? new Set<string>() : entry.group.topics();
    const good = places.filter(({ topic }, i) => {
      const isRead = topics === null || topics.has(topic);
      if (errors[i] === E.NONE && isRead) errors[i] = E.GROUP_SUBSCRIBED_TO_TOPIC;
      return errors[i] === E.NONE;
    });
    const error = await this.#delete(entry, good);
    return { errorCode: E.NONE, errors: errors.map((own) => own || error) };
  }

  /** The group stays. */
  async #delete(entry: Entry, places: readonly Place[]): Promise<number> {
    const { group, offsets } = entry;
    const writes = places.map((place) => tombstone(group.id, place));
    if (writes.length === 0) return E.NONE;
    return this.#on.journal.append(group.id, writes, () => {
      for (const { topic, partition } of places) offsets.delete(topic, partition);
      this.#on.table.weigh(entry);
    });
  }

  /** The group and all of its offsets, those on their way among them. */
  async deleteGroup(entry: Entry): Promise<number> {
    const { group, offsets, committing } = entry;
    const { table, journal } = this.#on;
    const writes: Write[] = [];
    for (const place of offsets) writes.push(tombstone(group.id, place));
    for (const places of committing) {
      for (const place of places) writes.push(tombstone(group.id, place));
    }
    if (entry.stored) writes.push({ key: encodeGroupKey(group.id), value: null });
    if (writes.length === 0) {
      table.remove(entry);
      return E.NONE;
    }
    entry.deleting = true;
    const error = await journal.append(group.id, writes, () => table.remove(entry));
    entry.deleting = false;
    return error;
  }

  /** Offsets whose time has come go, and groups that are left with nothing. */
  async expire(): Promise<void> {
    const nowMs = this.#on.now();
    await Promise.all(Array.from(this.#on.table, (entry) => this.#expire(entry, nowMs)));
  }

  async #expire(entry: Entry, nowMs: number): Promise<number> {
    const { group, offsets, committing, deleting, state, sinceMs } = entry;
    if (committing.size > 0 || deleting) return E.NONE;
    const isEmpty = state === "Empty";
    const isSimple = group.protocolType === null;
    // members that come and go keep everything
    const subscribed = state === "Stable" ? group.topics() : null;
    const places = expired(offsets, nowMs, {
      emptySinceMs: isEmpty && !isSimple && sinceMs >= 0 ? sinceMs : null,
      subscribed: isEmpty ? new Set() : subscribed,
      retentionMs: limits.offsetRetentionMs,
    });
    const isOver = isEmpty && places.length === offsets.size && group.members.pending.size === 0;
    return isOver ? this.deleteGroup(entry) : this.#delete(entry, places);
  }

  /** Commits to a topic that is gone go with it. */
  topicGone(topic: string): void {
    this.#gone.set(topic, this.#on.now());
  }

  /** Of topics that are gone; what cannot be written is tried again with the next call. */
  async forgetTopics(): Promise<void> {
    if (this.#forgetting) return;
    this.#forgetting = true;
    for (const [topic, goneMs] of this.#gone) {
      const errors = await Promise.all(
        Array.from(this.#on.table, (entry) => this.#forget(entry, topic, goneMs)),
      );
      const isDone = errors.every((error) => error === E.NONE);
      if (isDone && this.#gone.get(topic) === goneMs) this.#gone.delete(topic);
    }
    this.#forgetting = false;
  }

  async #forget(entry: Entry, topic: string, goneMs: number): Promise<number> {
    const old = new Set<number>();
    const anew = new Set<number>();
    const look = (partition: number, { committedMs }: Offset): void => {
      (committedMs <= goneMs ? old : anew).add(partition);
    };
    for (const [partition, offset] of entry.offsets.partitions(topic)) look(partition, offset);
    for (const commits of entry.committing) {
      for (const commit of commits)
        if (commit.topic === topic) look(commit.partition, commit.value);
    }
    // on its way to one made anew under the name: what is older goes with it, or the next time
    const gone = [...old].filter((partition) => !anew.has(partition));
    const places = gone.map((partition) => ({ topic, partition }));
    const error = await this.#delete(entry, places);
    return places.length < old.size ? E.COORDINATOR_NOT_AVAILABLE : error;
  }
}

/** Offsets of what consumers read now are theirs; of other groups with members, all are. */
function checkDelete(entry: Entry | undefined): number {
  if (entry === undefined) return E.GROUP_ID_NOT_FOUND;
  const { state, protocolType } = entry.group;
  return state === "Empty" || protocolType === "consumer" ? E.NONE : E.NON_EMPTY_GROUP;
}

function fetchedPartition(partitionIndex: number, found: Offset | undefined): FetchedPartition {
  return {
    partitionIndex,
    committedOffset: found?.offset ?? -1,
    committedLeaderEpoch: found?.leaderEpoch ?? -1,
    metadata: found?.metadata ?? "",
    errorCode: E.NONE,
  };
}

const tombstone = (group: string, { topic, partition }: Place): Write => {
  return { key: encodeOffsetKey(group, topic, partition), value: null };
};

/** As a number that is written as it is read. */
const safe = (n: number): number =>
  Math.max(Number.MIN_SAFE_INTEGER, Math.min(n, Number.MAX_SAFE_INTEGER));
