/** All groups of this node, what they take of its memory, and whether they can be had. */
import { limits } from "../model/limits.ts";
import { E } from "../wire/errors.ts";
import type { Group } from "./group.ts";
import type { GroupState } from "./group-types.ts";
import { PARTITIONS, partitionOfGroup } from "./journal.ts";
import { type NewOffset, Offsets } from "./offsets.ts";

/** A group's own objects, and an id given out to a member that has not joined. */
const GROUP_BYTES = 2000;
const PENDING_BYTES = 400;

export type Entry = {
  readonly group: Group;
  readonly offsets: Offsets;
  /** Of commits that the log does not have yet. */
  readonly committing: Set<readonly NewOffset[]>;
  /** The group's state when it was last looked at, and since when (ms) it is in it. */
  state: GroupState;
  sinceMs: number;
  /** The log has a record of its members. */
  stored: boolean;
  /** Its end is being written: nobody may use it until that is known. */
  deleting: boolean;
  /** As counted in the table's. */
  bytes: number;
};

export class GroupTable {
  readonly #entries = new Map<string, Entry>();
  /** Partitions of the log whose groups are known. */
  readonly #loaded = new Set<number>();
  /** Of members and offsets. */
  bytes = 0;
  isStopped = false;

  get size(): number {
    return this.#entries.size;
  }
  get isFull(): boolean {
    return this.size >= limits.groupsMax;
  }
  get(group: string): Entry | undefined {
    return this.#entries.get(group);
  }
  [Symbol.iterator](): IterableIterator<Entry> {
    return this.#entries.values();
  }

  add(group: Group, nowMs: number, offsets = new Offsets()): Entry {
    const entry: Entry = {
      group,
      offsets,
      committing: new Set(),
      state: group.state,
      sinceMs: nowMs,
      stored: false,
      deleting: false,
      bytes: 0,
    };
    this.#entries.set(group.id, entry);
    this.weigh(entry);
    return entry;
  }

  remove(entry: Entry): void {
    if (this.get(entry.group.id) !== entry) return;
    this.#entries.delete(entry.group.id);
    this.bytes -= entry.bytes;
    entry.bytes = 0;
  }

  get isLoaded(): boolean {
    return this.#loaded.size === PARTITIONS;
  }
  setLoaded(partition: number): void {
    this.#loaded.add(partition);
  }

  /** Why a group of this name cannot be had; NONE: it can be, though it need not exist. */
  check(group: string, mayBeEmpty = false): number {
    if (this.isStopped) return E.COORDINATOR_NOT_AVAILABLE;
    const tooLong = Buffer.byteLength(group) > limits.groupIdBytesMax;
    if (tooLong || (group === "" && !mayBeEmpty)) return E.INVALID_GROUP_ID;
    if (!this.isLoaded && !this.#loaded.has(partitionOfGroup(group))) {
      return E.COORDINATOR_LOAD_IN_PROGRESS;
    }
    return this.get(group)?.deleting === true ? E.COORDINATOR_NOT_AVAILABLE : E.NONE;
  }

  hasRoom(bytes: number): boolean {
    return this.bytes + bytes <= limits.groupsBytesMax;
  }

  /** To be called after a group or its offsets have changed. */
  weigh(entry: Entry): void {
    if (this.get(entry.group.id) !== entry) return;
    const { members } = entry.group;
    const bytes =
      GROUP_BYTES + members.bytes + members.pending.size * PENDING_BYTES + entry.offsets.bytes;
    this.bytes += bytes - entry.bytes;
    entry.bytes = bytes;
  }
}
