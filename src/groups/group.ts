/**
 * One consumer group: Kafka's classic protocol as a machine without clock, socket or disk. What
 * clients ask and what time it is goes in; answers to those who wait, and snapshots to be written,
 * come out of `take()`; `deadline` says when `tick` is due. The rules are those of Kafka's own
 * coordinator, KIP-62, 345, 394 and 814 among them.
 */
import { limits } from "../model/limits.ts";
import { E } from "../wire/errors.ts";
import { sameTopics, topicsOf } from "./consumer-protocol.ts";
import type {
  Action,
  GroupSnapshot,
  GroupState,
  Identity,
  JoinRequest,
  SyncRequest,
  Waiter,
} from "./group-types.ts";
import { type Member, memberBytes, type Members, sameProtocols } from "./members.ts";
import { Rebalance, refusedJoin, refusedSync } from "./rebalance.ts";

/** A static member that came back is answered once the log has its new id. */
type Replacing = { memberId: string; waiter: Waiter; leader: string };

export class Group {
  readonly id: string;
  readonly #round = new Rebalance();
  readonly #replacing = new Map<number, Replacing>();

  constructor(id: string) {
    this.id = id;
  }

  static restore(id: string, snapshot: GroupSnapshot, now: number): Group {
    const group = new Group(id);
    group.#round.restore(snapshot, now);
    return group;
  }

  get state(): GroupState {
    return this.#round.state;
  }
  get generation(): number {
    return this.#round.generation;
  }
  /** Null: it only stores offsets. */
  get protocolType(): string | null {
    return this.#round.protocolType;
  }
  get protocolName(): string | null {
    return this.#round.protocolName;
  }
  get members(): Members {
    return this.#round.members;
  }
  get deadline(): number {
    return this.#round.deadline;
  }
  /** Nothing would be lost with the group but its offsets. */
  get isPristine(): boolean {
    const { state, generation, members } = this.#round;
    return state === "Empty" && generation === 0 && members.pending.size === 0;
  }

  /** What is to be done since the last call. */
  take(): Action[] {
    const { actions } = this.#round;
    if (actions.length > 0) this.#round.actions = [];
    return actions;
  }

  tick(now: number): void {
    this.#round.tick(now);
  }

  /** The log has the snapshot, or `error` says why not. */
  persisted(store: number, error: number, now: number): void {
    const replacing = this.#replacing.get(store);
    this.#replacing.delete(store);
    if (replacing === undefined) this.#round.persisted(store, error, now);
    else this.#replaced(replacing, error);
  }

  /** The node stops: who waits asks elsewhere. */
  end(): void {
    this.#round.end();
  }

  /** Topics that its consumers subscribe to; null: it is not for the group to know. */
  topics(): Set<string> | null {
    const { protocolType, protocolName, members } = this.#round;
    if (protocolType !== "consumer") return null;
    if (members.size === 0) return new Set();
    return topicsOf(members.joined(protocolName ?? ""));
  }

  // --- JoinGroup ----------------------------------------------------------------------------

  join(request: JoinRequest, waiter: Waiter, now: number): void {
    const { memberId, groupInstanceId } = request;
    const round = this.#round;
    if (round.state === "Dead") {
      this.#refuse(waiter, memberId, E.COORDINATOR_NOT_AVAILABLE);
    } else if (!this.#hasRoom(request)) {
      this.#refuse(waiter, "", E.GROUP_MAX_SIZE_REACHED);
      const member = round.members.get(memberId);
      if (member === undefined) return;
      round.remove(member);
      round.membersLeft(now);
    } else if (!this.#supports(request)) {
      this.#refuse(waiter, memberId, E.INCONSISTENT_GROUP_PROTOCOL);
    } else if (memberId === "") {
      this.#joinNew(request, waiter, now);
    } else if (groupInstanceId === null && round.members.pending.has(memberId)) {
      this.#add(memberId, request, waiter, now);
    } else {
      const error = this.#check(request);
      if (error === E.NONE) this.#joinAgain(request, waiter, now);
      else this.#refuse(waiter, memberId, error);
    }
  }

  #hasRoom(request: JoinRequest): boolean {
    const { state, members } = this.#round;
    const known = members.get(request.memberId);
    const bytes = memberBytes(request);
    const others = members.bytes - (known === undefined ? 0 : memberBytes(known));
    if (bytes > limits.groupMemberBytesMax || others + bytes > limits.groupBytesMax) return false;
    const { groupMembersMax: max } = limits;
    // who comes back last is out, should the limit have become smaller
    if (state === "PreparingRebalance") {
      return (known !== undefined && known.joinWaiter !== null) || members.waiting < max;
    }
    const isPending = members.pending.has(request.memberId);
    return known !== undefined || isPending || members.size + members.pending.size < max;
  }

  #supports({ protocolType, protocols }: JoinRequest): boolean {
    if (this.state === "Empty") return protocolType !== "" && protocols.size > 0;
    return this.protocolType === protocolType && this.members.support(protocols);
  }

  #joinNew(request: JoinRequest, waiter: Waiter, now: number): void {
    const { clientId, groupInstanceId, sessionTimeoutMs, uuid } = request;
    const memberId = `${groupInstanceId ?? clientId}-${uuid}`;
    const old = this.members.getStatic(groupInstanceId);
    if (old !== undefined) {
      this.#replace(old, memberId, request, waiter, now);
    } else if (groupInstanceId === null && request.requiresMemberId) {
      this.members.pending.set(memberId, now + sessionTimeoutMs);
      this.#round.wakeAt(now + sessionTimeoutMs);
      this.#refuse(waiter, memberId, E.MEMBER_ID_REQUIRED);
    } else {
      this.#add(memberId, request, waiter, now);
    }
  }

  #add(memberId: string, request: JoinRequest, waiter: Waiter, now: number): void {
    const round = this.#round;
    round.memberAdded();
    if (round.members.size === 0) round.protocolType = request.protocolType;
    round.members.pending.delete(memberId);
    const member = round.members.add(memberId, request, waiter);
    member.expiresAt = now + limits.groupNewMemberMsMax;
    round.wakeAt(member.expiresAt);
    round.begin(now);
  }

  #joinAgain(request: JoinRequest, waiter: Waiter, now: number): void {
    const round = this.#round;
    const member = round.members.get(request.memberId) as Member;
    const isLeader = round.members.leader === member.memberId;
    // a leader that joins a stable group wants to assign anew; any other perhaps missed an answer
    const mayGoOn =
      round.state === "CompletingRebalance" || (round.state === "Stable" && !isLeader);
    if (mayGoOn && sameProtocols(member.protocols, request.protocols)) {
      round.actions.push({ kind: "joined", waiter, answer: round.joinAnswer(member) });
      return;
    }
    round.answerJoin(member, E.REBALANCE_IN_PROGRESS);
    round.members.update(member, request, waiter);
    round.begin(now);
  }

  // --- static members (KIP-345) -------------------------------------------------------------

  /** One is back: without a rebalance where nothing changed that matters. */
  #replace(old: Member, memberId: string, request: JoinRequest, waiter: Waiter, now: number): void {
    const round = this.#round;
    const { members, protocolName } = round;
    const leader = members.leader ?? "";
    round.answerJoin(old, E.FENCED_INSTANCE_ID);
    round.answerSync(old, E.FENCED_INSTANCE_ID);
    const member = members.replace(old, memberId, request, waiter);
    round.heard(member, now);
    if (round.unsynced.delete(old.memberId)) round.unsynced.add(memberId);
    const name = protocolName ?? "";
    const [was, is] = [old.protocols.get(name), request.protocols.get(name)];
    const subscribesAlike = round.protocolType !== "consumer" || sameTopics(was, is);
    if (round.state === "Stable" && members.selectProtocol() === name && subscribesAlike) {
      this.#replacing.set(round.persist(), { memberId, waiter, leader });
    } else {
      round.begin(now);
    }
  }

  #replaced({ memberId, waiter, leader }: Replacing, error: number): void {
    const round = this.#round;
    const { members, state } = round;
    const member = members.get(memberId);
    // a rebalance has taken the waiter over
    if (state !== "Stable" || member === undefined || member.joinWaiter !== waiter) return;
    if (error !== E.NONE) {
      round.answerJoin(member, error);
      return;
    }
    members.answered(member);
    const answer = round.joinAnswer(member);
    if (member.knowsSkipAssignment) {
      answer.skipAssignment = members.leader === memberId;
    } else {
      // told that the old id leads, it does not assign what nobody would hear of
      answer.leader = leader;
      answer.members = [];
    }
    round.actions.push({ kind: "joined", waiter, answer });
  }

  // --- SyncGroup, Heartbeat, OffsetCommit, LeaveGroup ---------------------------------------

  sync(request: SyncRequest, waiter: Waiter, now: number): void {
    const round = this.#round;
    const error = this.#checkSync(request);
    const member = round.members.get(request.memberId);
    if (error !== E.NONE || member === undefined) {
      round.actions.push({ kind: "synced", waiter, answer: refusedSync(error) });
      return;
    }
    round.unsynced.delete(member.memberId);
    round.answerSync(member, E.REBALANCE_IN_PROGRESS);
    member.syncWaiter = waiter;
    if (round.state === "Stable") {
      round.answerSync(member, E.NONE);
      round.heard(member, now);
    } else if (round.members.leader === member.memberId) {
      round.assign(request.assignments, now);
    }
  }

  #checkSync(request: SyncRequest): number {
    const { generationId, protocolType, protocolName } = request;
    const error = this.#checkGeneration(request, generationId);
    if (error !== E.NONE) return error;
    const otherType = protocolType !== null && protocolType !== this.protocolType;
    const otherName = protocolName !== null && protocolName !== this.protocolName;
    if (otherType || otherName) return E.INCONSISTENT_GROUP_PROTOCOL;
    return this.state === "PreparingRebalance" ? E.REBALANCE_IN_PROGRESS : E.NONE;
  }

  heartbeat(identity: Identity, generation: number, now: number): number {
    const error = this.#checkGeneration(identity, generation);
    if (error !== E.NONE) return error;
    this.#round.heard(this.members.get(identity.memberId) as Member, now);
    return this.state === "PreparingRebalance" ? E.REBALANCE_IN_PROGRESS : E.NONE;
  }

  /** Whether this client may commit offsets now; a member's commit is as good as a heartbeat. */
  commit(identity: Identity, generation: number, now: number): number {
    const { memberId, groupInstanceId } = identity;
    if (this.state === "Empty" && generation < 0) return E.NONE;
    const isMember = generation >= 0 || memberId !== "" || groupInstanceId !== null;
    if (!isMember && this.state !== "Dead") return E.UNKNOWN_MEMBER_ID;
    const error = this.#checkGeneration(identity, generation);
    if (error !== E.NONE) return error;
    // it has heard of the generation, and not yet of what it may read
    if (this.state === "CompletingRebalance") return E.REBALANCE_IN_PROGRESS;
    this.#round.heard(this.members.get(memberId) as Member, now);
    return E.NONE;
  }

  /** An error code each. Without a member id, the instance id alone names who is to go. */
  leave(identities: readonly Identity[], now: number): number[] {
    if (this.state === "Dead") return identities.map(() => E.COORDINATOR_NOT_AVAILABLE);
    const errors = identities.map((identity) => this.#leave(identity));
    if (errors.includes(E.NONE)) this.#round.membersLeft(now);
    return errors;
  }

  #leave(identity: Identity): number {
    const { memberId, groupInstanceId } = identity;
    const { members } = this;
    if (members.pending.delete(memberId)) return E.NONE;
    const error = memberId === "" ? E.NONE : this.#check(identity);
    if (error !== E.NONE) return error;
    const member = memberId === "" ? members.getStatic(groupInstanceId) : members.get(memberId);
    if (member === undefined) return E.UNKNOWN_MEMBER_ID;
    this.#round.remove(member);
    return E.NONE;
  }

  // --- who may ------------------------------------------------------------------------------

  #check({ memberId, groupInstanceId }: Identity): number {
    if (groupInstanceId !== null) {
      const current = this.members.getStatic(groupInstanceId);
      if (current === undefined) return E.UNKNOWN_MEMBER_ID;
      if (current.memberId !== memberId) return E.FENCED_INSTANCE_ID;
    }
    return this.members.get(memberId) === undefined ? E.UNKNOWN_MEMBER_ID : E.NONE;
  }

  #checkGeneration(identity: Identity, generation: number): number {
    if (this.state === "Dead") return E.COORDINATOR_NOT_AVAILABLE;
    const error = this.#check(identity);
    if (error !== E.NONE) return error;
    return generation === this.generation ? E.NONE : E.ILLEGAL_GENERATION;
  }

  #refuse(waiter: Waiter, memberId: string, error: number): void {
    this.#round.actions.push({ kind: "joined", waiter, answer: refusedJoin(error, memberId) });
  }
}
