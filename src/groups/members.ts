/** The members of one group: who they are, what they support, who waits for an answer. */
import type { JoinedMember, JoinRequest, Protocols, StoredMember, Waiter } from "./group-types.ts";

/** A member's own object, beside what it sent. */
const MEMBER_BYTES = 500;
const PROTOCOL_BYTES = 100;
const NOTHING = new Uint8Array(0);

export type Member = {
  readonly memberId: string;
  readonly groupInstanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  sessionTimeoutMs: number;
  rebalanceTimeoutMs: number;
  protocols: Protocols;
  assignment: Uint8Array;
  joinWaiter: Waiter | null;
  syncWaiter: Waiter | null;
  knowsSkipAssignment: boolean;
  /** It has not been told its first generation, so it sends no heartbeats. */
  isNew: boolean;
  /** When it is evicted unless it is heard of. */
  expiresAt: number;
};

/** What a member takes of memory and of the group's record; without its assignment. */
export function memberBytes({ clientId, groupInstanceId, protocols }: Weighed): number {
  let bytes = MEMBER_BYTES + 3 * Math.max(clientId.length, groupInstanceId?.length ?? 0);
  for (const [name, metadata] of protocols) bytes += PROTOCOL_BYTES + name.length + metadata.length;
  return bytes;
}
type Weighed = Pick<JoinRequest, "clientId" | "groupInstanceId" | "protocols">;

/** Same names in the same order with the same bytes. */
export function sameProtocols(a: Protocols, b: Protocols): boolean {
  if (a.size !== b.size) return false;
  const other = b.entries();
  for (const [name, metadata] of a) {
    const [otherName, otherMetadata] = (other.next().value ?? []) as [string?, Uint8Array?];
    if (name !== otherName || Buffer.compare(metadata, otherMetadata as Uint8Array) !== 0) {
      return false;
    }
  }
  return true;
}

export class Members {
  readonly #byId = new Map<string, Member>();
  /** groupInstanceId → memberId. */
  readonly #static = new Map<string, string>();
  /** Protocol → members that support it. */
  readonly #supported = new Map<string, number>();
  /** Ids given out that have not joined yet → when they are forgotten (KIP-394). */
  readonly pending = new Map<string, number>();
  #waiting = 0;
  /** Of metadata and assignments. */
  bytes = 0;
  leader: string | null = null;

  get size(): number {
    return this.#byId.size;
  }
  /** Members that wait for the answer to their JoinGroup. */
  get waiting(): number {
    return this.#waiting;
  }
  /** Everybody waits for the next generation, and nobody is on the way. */
  get allJoined(): boolean {
    return this.#waiting === this.size && this.pending.size === 0;
  }
  [Symbol.iterator](): IterableIterator<Member> {
    return this.#byId.values();
  }
  get(memberId: string): Member | undefined {
    return this.#byId.get(memberId);
  }
  getStatic(groupInstanceId: string | null): Member | undefined {
    return groupInstanceId === null
      ? undefined
      : this.#byId.get(this.#static.get(groupInstanceId) ?? "");
  }

  /** Longest time that any member asks for. */
  get rebalanceTimeoutMs(): number {
    let longest = 0;
    for (const m of this) longest = Math.max(longest, m.rebalanceTimeoutMs);
    return longest;
  }

  add(memberId: string, request: JoinRequest, waiter: Waiter | null): Member {
    const { groupInstanceId, clientId, clientHost, protocols, knowsSkipAssignment } = request;
    const { sessionTimeoutMs, rebalanceTimeoutMs } = request;
    const member: Member = {
      memberId,
      groupInstanceId,
      clientId,
      clientHost,
      sessionTimeoutMs,
      rebalanceTimeoutMs,
      protocols,
      assignment: NOTHING,
      joinWaiter: waiter,
      syncWaiter: null,
      knowsSkipAssignment,
      isNew: true,
      expiresAt: Infinity,
    };
    this.#put(member);
    return member;
  }

  restore(stored: StoredMember, protocol: string): Member {
    const { subscription, assignment, ...rest } = stored;
    const member: Member = {
      ...rest,
      protocols: new Map([[protocol, subscription]]),
      assignment,
      joinWaiter: null,
      syncWaiter: null,
      knowsSkipAssignment: false,
      isNew: false,
      expiresAt: Infinity,
    };
    this.#put(member);
    return member;
  }

  /** What it sent with a new JoinGroup, and who waits for the answer from now on. */
  update(member: Member, request: JoinRequest, waiter: Waiter): void {
    this.#count(member, -1);
    member.protocols = request.protocols;
    member.sessionTimeoutMs = request.sessionTimeoutMs;
    member.rebalanceTimeoutMs = request.rebalanceTimeoutMs;
    member.knowsSkipAssignment = request.knowsSkipAssignment;
    member.joinWaiter = waiter;
    this.#count(member, 1);
  }

  answered(member: Member): void {
    if (member.joinWaiter !== null) this.#waiting--;
    member.joinWaiter = null;
  }

  assign(member: Member, assignment: Uint8Array = NOTHING): void {
    this.bytes += assignment.length - member.assignment.length;
    member.assignment = assignment;
  }

  remove(member: Member): void {
    const { memberId, groupInstanceId } = member;
    this.#byId.delete(memberId);
    this.#count(member, -1);
    this.bytes -= member.assignment.length;
    if (groupInstanceId !== null) this.#static.delete(groupInstanceId);
    if (this.leader === memberId) this.leader = this.#first(() => true);
  }

  /** A static member comes back under a new id, with the place and the assignment it had. */
  replace(old: Member, memberId: string, request: JoinRequest, waiter: Waiter): Member {
    const isLeader = this.leader === old.memberId;
    this.remove(old);
    const member = this.add(memberId, request, waiter);
    member.isNew = false;
    this.assign(member, old.assignment);
    if (isLeader) this.leader = memberId;
    return member;
  }

  /** A leader that has not joined gives way to a member that has; false: nobody has. */
  electJoined(): boolean {
    if (this.#byId.get(this.leader ?? "")?.joinWaiter != null) return true;
    const joined = this.#first((m) => m.joinWaiter !== null);
    if (joined !== null) this.leader = joined;
    return joined !== null;
  }

  /** Whether any of these protocols is supported by all. */
  support(protocols: Protocols): boolean {
    for (const name of protocols.keys()) if (this.#supportedByAll(name)) return true;
    return false;
  }

  /** Each member votes for its first protocol that all support; the most votes win. */
  selectProtocol(): string {
    const votes = new Map<string, number>();
    for (const { protocols } of this) {
      for (const name of protocols.keys()) {
        if (!this.#supportedByAll(name)) continue;
        votes.set(name, (votes.get(name) ?? 0) + 1);
        break;
      }
    }
    let selected = "";
    let most = 0;
    for (const [name, count] of votes) {
      if (count > most) [selected, most] = [name, count];
    }
    return selected;
  }

  /** For the leader, who assigns. */
  joined(protocol: string): JoinedMember[] {
    return Array.from(this, ({ memberId, groupInstanceId, protocols }) => {
      return { memberId, groupInstanceId, metadata: protocols.get(protocol) ?? NOTHING };
    });
  }

  #put(member: Member): void {
    const { memberId, groupInstanceId } = member;
    this.#byId.set(memberId, member);
    if (groupInstanceId !== null) this.#static.set(groupInstanceId, memberId);
    this.#count(member, 1);
    this.bytes += member.assignment.length;
    this.leader ??= memberId;
  }

  #count(member: Member, by: 1 | -1): void {
    const { protocols, joinWaiter } = member;
    for (const name of protocols.keys()) {
      const count = (this.#supported.get(name) ?? 0) + by;
      if (count === 0) this.#supported.delete(name);
      else this.#supported.set(name, count);
    }
    this.bytes += by * memberBytes(member);
    if (joinWaiter !== null) this.#waiting += by;
  }

  #supportedByAll(name: string): boolean {
    return (this.#supported.get(name) ?? 0) === this.size;
  }

  #first(is: (m: Member) => boolean): string | null {
    for (const m of this) if (is(m)) return m.memberId;
    return null;
  }
}
