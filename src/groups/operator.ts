/** What operators may do with groups, on the admin port and the command line. */
import { MilepostError, type ErrorCode } from "../model/errors.ts";
import { E } from "../wire/errors.ts";
import type { GroupAdmin, GroupDescription, GroupSummary, OffsetReset } from "./admin.ts";
import type { Commits } from "./commits.ts";
import { partitionsOf } from "./consumer-protocol.ts";
import type { Entry, GroupTable } from "./table.ts";

const codes = new Map<number, ErrorCode>([
  [E.COORDINATOR_LOAD_IN_PROGRESS, "groups_loading"],
  [E.GROUP_ID_NOT_FOUND, "group_missing"],
  [E.INVALID_GROUP_ID, "invalid_group"],
  [E.INVALID_COMMIT_OFFSET_SIZE, "policy"],
  [E.NON_EMPTY_GROUP, "group_not_empty"],
  [E.POLICY_VIOLATION, "policy"],
  [E.UNKNOWN_MEMBER_ID, "group_not_empty"],
  [E.UNKNOWN_TOPIC_OR_PARTITION, "partition_missing"],
]);

function check(error: number, detail: string): void {
  if (error !== E.NONE) throw new MilepostError(codes.get(error) ?? "timeout", detail);
}

export class GroupOperator implements GroupAdmin {
  readonly #table: GroupTable;
  readonly #commits: Commits;

  constructor(table: GroupTable, commits: Commits) {
    this.#table = table;
    this.#commits = commits;
  }

  list(): GroupSummary[] {
    check(this.#table.isLoaded ? E.NONE : E.COORDINATOR_LOAD_IN_PROGRESS, "groups");
    return Array.from(this.#table, ({ group }) => ({
      group: group.id,
      state: group.state,
      protocolType: group.protocolType ?? "",
      members: group.members.size,
    }));
  }

  describe(id: string): GroupDescription {
    const { group, offsets } = this.#entry(id);
    return {
      group: group.id,
      state: group.state,
      protocolType: group.protocolType ?? "",
      members: Array.from(group.members, (m) => ({
        memberId: m.memberId,
        clientId: m.clientId,
        host: m.clientHost,
        assignment: (group.protocolType === "consumer" && partitionsOf(m.assignment)) || [],
      })),
      offsets: Array.from(offsets, ({ topic, partition, offset }) => ({
        topic,
        partition,
        committed: offset.offset,
        ...(offset.metadata === "" ? {} : { metadata: offset.metadata }),
        committedAt: offset.committedMs,
      })),
    };
  }

  async delete(id: string): Promise<void> {
    const entry = this.#entry(id);
    check(entry.group.state === "Empty" ? E.NONE : E.NON_EMPTY_GROUP, id);
    check(await this.#commits.deleteGroup(entry), id);
  }

  async resetOffsets(group: string, offsets: OffsetReset[]): Promise<void> {
    for (const { topic, partition } of offsets) {
      check(this.#commits.checkPartition(topic, partition), `${topic}/${partition}`);
    }
    const errors = await this.#commits.commit({
      group,
      member: { memberId: "", groupInstanceId: null },
      generation: -1,
      retentionMs: -1,
      knowsGroupNotFound: true,
      offsets: offsets.map((place) => ({ ...place, leaderEpoch: -1, metadata: "" })),
    });
    for (const error of errors) check(error, group);
  }

  #entry(id: string): Entry {
    check(this.#table.check(id, true), id);
    const entry = this.#table.get(id);
    if (entry === undefined) throw new MilepostError("group_missing", id);
    return entry;
  }
}
