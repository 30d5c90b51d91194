/**
 * How a group gets from one generation to the next: members join, the leader assigns, the log has
 * it, members are told. Time and requests come in through `Group`.
 *
 *     Empty ──join──▶ PreparingRebalance ──all joined──▶ CompletingRebalance ──assigned──▶ Stable
 *                       ▲      │ nobody left: Empty            │                              │
 *                       └──────┴─── a member joins, leaves, changes or is not heard of ───────┘
 *
 * Invariant: a waiter that a member holds is answered once, by `answerJoin` or `answerSync`.
 */
import { limits } from "../model/limits.ts";
import { E } from "../wire/errors.ts";
import type { Action, GroupSnapshot, GroupState, JoinAnswer, SyncAnswer } from "./group-types.ts";
import { type Member, memberBytes, Members } from "./members.ts";

const NOTHING = new Uint8Array(0);
/** Between two looks at a group none of whose members has come back. */
const NOBODY_JOINED_MS = 1000;
/** To ask for one's assignment: some clients give 0 as their rebalance timeout. */
const SYNC_MS_MIN = 1000;

type Assignments = ReadonlyMap<string, Uint8Array>;

export class Rebalance {
  readonly members = new Members();
  state: GroupState = "Empty";
  generation = 0;
  /** Null: the group only stores offsets. */
  protocolType: string | null = null;
  protocolName: string | null = null;
  actions: Action[] = [];
  /** ms; never later than the next thing that time alone brings about. */
  deadline = Infinity;
  /** Members of this generation that have not asked for their assignment. */
  readonly unsynced = new Set<string>();
  /** When the wait for members to join, or to sync, ends. */
  #joinEndsAt = Infinity;
  #syncEndsAt = Infinity;
  /** Of a group that was empty: how much longer its first wait may become. */
  #firstWaitLeftMs: number | null = null;
  #extendFirstWait = false;
  #assigning: { store: number; assignments: Assignments } | null = null;
  #stores = 0;

  /** A member joins, leaves or changes: a new generation is due. */
  begin(now: number): void {
    if (this.state === "PreparingRebalance") {
      this.tryComplete(now);
      return;
    }
    const isFirst = this.state === "Empty";
    if (this.state === "CompletingRebalance") this.#refuseSyncs(E.REBALANCE_IN_PROGRESS, now);
    this.unsynced.clear();
    this.#syncEndsAt = Infinity;
    this.state = "PreparingRebalance";
    const { rebalanceTimeoutMs } = this.members;
    const delayMs = limits.groupInitialDelayMs;
    this.#firstWaitLeftMs = isFirst ? Math.max(rebalanceTimeoutMs - delayMs, 0) : null;
    this.#waitForJoins(isFirst ? delayMs : rebalanceTimeoutMs, now);
    this.tryComplete(now);
  }

  /** The first wait of an empty group goes on when one more comes. */
  memberAdded(): void {
    if (this.#firstWaitLeftMs !== null) this.#extendFirstWait = true;
  }

  tryComplete(now: number): void {
    const waits = this.state === "PreparingRebalance" && this.#firstWaitLeftMs === null;
    if (waits && this.members.allJoined) this.#completeJoin(now);
  }

  #waitForJoins(ms: number, now: number): void {
    this.#joinEndsAt = now + ms;
    this.wakeAt(this.#joinEndsAt);
  }

  #joinWaitEnds(now: number): void {
    const left = this.#firstWaitLeftMs;
    if (left === null || left === 0 || !this.#extendFirstWait) {
      this.#completeJoin(now);
      return;
    }
    const delayMs = Math.min(limits.groupInitialDelayMs, left);
    this.#extendFirstWait = false;
    this.#firstWaitLeftMs = left - delayMs;
    this.#waitForJoins(delayMs, now);
  }

  #completeJoin(now: number): void {
    const { members } = this;
    this.#firstWaitLeftMs = null;
    this.#extendFirstWait = false;
    for (const m of members) {
      if (m.joinWaiter === null && m.groupInstanceId === null) members.remove(m);
    }
    if (members.size > 0 && !members.electJoined()) {
      // only static members are left and none is back: until their sessions end
      this.#waitForJoins(Math.max(members.rebalanceTimeoutMs, NOBODY_JOINED_MS), now);
      return;
    }
    this.#joinEndsAt = Infinity;
    this.generation++;
    if (members.size === 0) {
      this.state = "Empty";
      this.protocolName = null;
      this.persist();
      return;
    }
    this.state = "CompletingRebalance";
    this.protocolName = members.selectProtocol();
    for (const m of members) {
      this.answerJoin(m, E.NONE);
      m.isNew = false;
      this.heard(m, now);
      this.unsynced.add(m.memberId);
    }
    this.#syncEndsAt = now + Math.max(members.rebalanceTimeoutMs, SYNC_MS_MIN);
    this.wakeAt(this.#syncEndsAt);
  }

  /** The leader says who gets what: it counts once the log has it. */
  assign(assignments: Assignments, now: number): void {
    if (this.#assigning !== null) return;
    let bytes = 0;
    for (const m of this.members) {
      bytes += memberBytes(m) + (assignments.get(m.memberId)?.length ?? 0);
    }
    if (bytes > limits.groupBytesMax) this.#assignmentFailed(E.GROUP_MAX_SIZE_REACHED, now);
    else this.#assigning = { store: this.persist(assignments), assignments };
  }

  /** The log has the snapshot, or `error` says why not. */
  persisted(store: number, error: number, now: number): void {
    if (this.#assigning?.store !== store) return;
    const { assignments } = this.#assigning;
    this.#assigning = null;
    if (error !== E.NONE) {
      this.#assignmentFailed(error, now);
      return;
    }
    this.state = "Stable";
    for (const m of this.members) {
      this.members.assign(m, assignments.get(m.memberId));
      if (this.answerSync(m, E.NONE)) this.heard(m, now);
    }
  }

  #assignmentFailed(error: number, now: number): void {
    this.#refuseSyncs(error, now);
    this.begin(now);
  }

  /** Nobody gets an assignment in this generation. */
  #refuseSyncs(error: number, now: number): void {
    this.#assigning = null;
    for (const m of this.members) {
      this.members.assign(m);
      if (this.answerSync(m, error)) this.heard(m, now);
    }
  }

  /** A member is gone; who still answers for it comes back as a new one. */
  remove(member: Member): void {
    this.answerJoin(member, E.UNKNOWN_MEMBER_ID);
    this.answerSync(member, E.UNKNOWN_MEMBER_ID);
    this.members.remove(member);
    this.unsynced.delete(member.memberId);
  }

  /** After `remove`. */
  membersLeft(now: number): void {
    if (this.state === "Stable" || this.state === "CompletingRebalance") this.begin(now);
    else this.tryComplete(now);
  }

  end(): void {
    this.state = "Dead";
    this.#assigning = null;
    this.deadline = Infinity;
    for (const member of this.members) {
      this.answerJoin(member, E.COORDINATOR_NOT_AVAILABLE);
      this.answerSync(member, E.COORDINATOR_NOT_AVAILABLE);
    }
  }

  // --- answers ------------------------------------------------------------------------------

  answerJoin(member: Member, error: number): void {
    const waiter = member.joinWaiter;
    if (waiter === null) return;
    this.members.answered(member);
    const answer = error === E.NONE ? this.joinAnswer(member) : refusedJoin(error, "");
    this.actions.push({ kind: "joined", waiter, answer });
  }

  /** False: nobody waited. */
  answerSync(member: Member, errorCode: number): boolean {
    const waiter = member.syncWaiter;
    if (waiter === null) return false;
    member.syncWaiter = null;
    const { protocolType, protocolName } = this;
    const { assignment } = member;
    const answer = { errorCode, protocolType, protocolName, assignment };
    const isGood = errorCode === E.NONE;
    this.actions.push({ kind: "synced", waiter, answer: isGood ? answer : refusedSync(errorCode) });
    return true;
  }

  /** The generation as this member is told of it. */
  joinAnswer({ memberId }: Member): JoinAnswer {
    const { generation: generationId, protocolType, protocolName, members } = this;
    return {
      errorCode: E.NONE,
      memberId,
      generationId,
      protocolType,
      protocolName,
      leader: members.leader ?? "",
      skipAssignment: false,
      members: members.leader === memberId ? members.joined(protocolName ?? "") : [],
    };
  }

  // --- time ---------------------------------------------------------------------------------

  /** The member's session begins anew. */
  heard(member: Member, now: number): void {
    member.expiresAt = now + member.sessionTimeoutMs;
    this.wakeAt(member.expiresAt);
  }

  wakeAt(at: number): void {
    if (at < this.deadline) this.deadline = at;
  }

  tick(now: number): void {
    if (now < this.deadline) return;
    const { members } = this;
    let gone = false;
    for (const [memberId, at] of members.pending) {
      if (at <= now) gone = members.pending.delete(memberId);
    }
    for (const m of members) {
      if (!mayExpire(m) || m.expiresAt > now) continue;
      this.remove(m);
      gone = true;
    }
    if (gone) this.membersLeft(now);
    if (this.#joinEndsAt <= now && this.state === "PreparingRebalance") this.#joinWaitEnds(now);
    if (this.#syncEndsAt <= now) this.#syncWaitEnds(now);
    this.deadline = this.#nextDeadline();
  }

  /** Who has not asked for its assignment by now is gone. */
  #syncWaitEnds(now: number): void {
    this.#syncEndsAt = Infinity;
    if (this.unsynced.size === 0) return;
    for (const memberId of this.unsynced) {
      const member = this.members.get(memberId);
      if (member !== undefined) this.remove(member);
    }
    this.membersLeft(now);
  }

  #nextDeadline(): number {
    const joinEndsAt = this.state === "PreparingRebalance" ? this.#joinEndsAt : Infinity;
    let next = Math.min(joinEndsAt, this.#syncEndsAt);
    for (const at of this.members.pending.values()) next = Math.min(next, at);
    for (const m of this.members) if (mayExpire(m)) next = Math.min(next, m.expiresAt);
    return next;
  }

  // --- the log ------------------------------------------------------------------------------

  /** Asks for the group to be written, with these assignments or those it has. */
  persist(assignments?: Assignments): number {
    const { members, protocolType, generation, protocolName: protocol } = this;
    const snapshot: GroupSnapshot = {
      protocolType: protocolType ?? "",
      generation,
      protocol,
      leader: members.leader,
      members: Array.from(members, (m) => ({
        memberId: m.memberId,
        groupInstanceId: m.groupInstanceId,
        clientId: m.clientId,
        clientHost: m.clientHost,
        rebalanceTimeoutMs: m.rebalanceTimeoutMs,
        sessionTimeoutMs: m.sessionTimeoutMs,
        subscription: m.protocols.get(protocol ?? "") ?? NOTHING,
        assignment:
          (assignments === undefined ? m.assignment : assignments.get(m.memberId)) ?? NOTHING,
      })),
    };
    const store = ++this.#stores;
    this.actions.push({ kind: "persist", store, snapshot });
    return store;
  }

  /** As it was written: members go on in their generation, their sessions begin anew. */
  restore(
    { protocolType, generation, protocol, leader, members }: GroupSnapshot,
    now: number,
  ): void {
    this.generation = generation;
    this.protocolType = protocolType === "" ? null : protocolType;
    if (members.length === 0 || protocol === null) return;
    this.state = "Stable";
    this.protocolName = protocol;
    for (const stored of members) this.heard(this.members.restore(stored, protocol), now);
    if (leader !== null && this.members.get(leader) !== undefined) this.members.leader = leader;
  }
}

/** A member that waits for an answer sends no heartbeats; a new one may have gone away. */
const mayExpire = (m: Member): boolean =>
  m.isNew || (m.joinWaiter === null && m.syncWaiter === null);

export function refusedJoin(errorCode: number, memberId: string): JoinAnswer {
  return {
    errorCode,
    memberId,
    generationId: -1,
    protocolType: null,
    protocolName: null,
    leader: "",
    skipAssignment: false,
    members: [],
  };
}

export const refusedSync = (errorCode: number): SyncAnswer => {
  return { errorCode, protocolType: null, protocolName: null, assignment: NOTHING };
};
