/** What goes into a group's state machine and what comes out. */

export type GroupState = "Empty" | "PreparingRebalance" | "CompletingRebalance" | "Stable" | "Dead";

/** Name → the member's metadata under it, in the member's order of preference. */
export type Protocols = ReadonlyMap<string, Uint8Array>;

/** Who waits for an answer: a number of the driver's. */
export type Waiter = number;

export type JoinRequest = {
  /** Empty: a new member. */
  memberId: string;
  groupInstanceId: string | null;
  clientId: string;
  clientHost: string;
  sessionTimeoutMs: number;
  rebalanceTimeoutMs: number;
  protocolType: string;
  protocols: Protocols;
  /** A new member is told its id first and joins with it (KIP-394). */
  requiresMemberId: boolean;
  /** KIP-814. */
  knowsSkipAssignment: boolean;
  /** Makes the new member's id unique. */
  uuid: string;
};

export type JoinedMember = {
  memberId: string;
  groupInstanceId: string | null;
  metadata: Uint8Array;
};

export type JoinAnswer = {
  errorCode: number;
  memberId: string;
  generationId: number;
  protocolType: string | null;
  protocolName: string | null;
  leader: string;
  skipAssignment: boolean;
  /** For the leader only. */
  members: JoinedMember[];
};

export type SyncRequest = {
  memberId: string;
  groupInstanceId: string | null;
  generationId: number;
  /** Null: the client does not say (before version 5). */
  protocolType: string | null;
  protocolName: string | null;
  assignments: ReadonlyMap<string, Uint8Array>;
};

export type SyncAnswer = {
  errorCode: number;
  protocolType: string | null;
  protocolName: string | null;
  assignment: Uint8Array;
};

/** A member as it names itself in heartbeats, leaves and commits. */
export type Identity = { memberId: string; groupInstanceId: string | null };

/** A group as it is written to the log. */
export type GroupSnapshot = {
  protocolType: string;
  generation: number;
  protocol: string | null;
  leader: string | null;
  members: StoredMember[];
};

export type StoredMember = {
  memberId: string;
  groupInstanceId: string | null;
  clientId: string;
  clientHost: string;
  rebalanceTimeoutMs: number;
  sessionTimeoutMs: number;
  /** The metadata under the group's protocol. */
  subscription: Uint8Array;
  assignment: Uint8Array;
};

/** What the driver does for the machine, in this order. */
export type Action =
  | { kind: "joined"; waiter: Waiter; answer: JoinAnswer }
  | { kind: "synced"; waiter: Waiter; answer: SyncAnswer }
  /** Write the snapshot, then say `persisted(store, error)`. */
  | { kind: "persist"; store: number; snapshot: GroupSnapshot };
