import { describe, expect, test } from "vitest";
import { Group } from "../../src/groups/group.ts";
import { limits } from "../../src/model/limits.ts";
import { E } from "../../src/wire/errors.ts";
import { bytes, Machine, REBALANCE_MS, SESSION_MS, subscription, text } from "./machine.ts";

const protocols = (...names: string[]) => new Map(names.map((name) => [name, bytes(name)]));

describe("joining", () => {
  test("the first members of an empty group wait for each other", () => {
    const m = new Machine();
    const first = m.join();
    m.pass(limits.groupInitialDelayMs - 1);
    const second = m.join();
    expect(m.joins.size).toBe(0);
    m.pass(1);
    // one more came, so the wait goes on once
    expect(m.joins.size).toBe(0);
    m.passFirstWait();
    const [a, b] = [m.joined(first), m.joined(second)];
    expect([a.generationId, b.generationId]).toEqual([1, 1]);
    expect(a.leader).toBe(b.leader);
    expect(a.leader).toBe(a.memberId);
    expect(a.members.map((x) => x.memberId).sort()).toEqual([a.memberId, b.memberId].sort());
    expect(b.members).toEqual([]);
    expect(m.group.state).toBe("CompletingRebalance");
  });

  test("the first wait ends however many come", () => {
    const m = new Machine();
    const first = m.join();
    for (let at = 0; !m.joins.has(first) && at < 2 * REBALANCE_MS; at += 50) {
      m.pass(50);
      m.join();
    }
    expect(m.joined(first).errorCode).toBe(E.NONE);
    expect(m.now).toBeLessThanOrEqual(1000 + REBALANCE_MS + 100);
  });

  test("a member id comes first where the client knows of it (KIP-394)", () => {
    const m = new Machine();
    const { errorCode, memberId } = m.joined(m.join({ requiresMemberId: true }));
    expect(errorCode).toBe(E.MEMBER_ID_REQUIRED);
    expect(memberId).toMatch(/^c-/);
    expect(m.group.members.size).toBe(0);
    const again = m.join({ memberId, requiresMemberId: true });
    m.passFirstWait();
    expect(m.joined(again)).toMatchObject({ errorCode: E.NONE, memberId, generationId: 1 });
  });

  test("an id given out is forgotten after a session", () => {
    const m = new Machine();
    const { memberId } = m.joined(m.join({ requiresMemberId: true }));
    m.pass(SESSION_MS);
    expect(m.joined(m.join({ memberId })).errorCode).toBe(E.UNKNOWN_MEMBER_ID);
    expect(m.group.isPristine).toBe(true);
  });

  test("a rebalance waits for ids given out, and no longer than a session", () => {
    const m = new Machine();
    const [leader] = m.stable(1);
    m.join({ requiresMemberId: true });
    const again = m.join({ memberId: leader });
    expect(m.joins.has(again)).toBe(false);
    m.pass(SESSION_MS);
    expect(m.joined(again).generationId).toBe(2);
  });

  test("a member that nobody knows is refused", () => {
    const m = new Machine();
    m.stable(1);
    expect(m.joined(m.join({ memberId: "who" })).errorCode).toBe(E.UNKNOWN_MEMBER_ID);
  });

  test("a member that joins a stable group begins a rebalance", () => {
    const m = new Machine();
    const [a] = m.stable(1);
    const b = m.join();
    expect(m.group.state).toBe("PreparingRebalance");
    expect(m.heartbeat(a)).toBe(E.REBALANCE_IN_PROGRESS);
    const again = m.join({ memberId: a });
    expect(m.joined(again).generationId).toBe(2);
    expect(m.joined(b).leader).toBe(a);
  });

  test("who has not come back by the rebalance timeout is out", () => {
    const m = new Machine();
    const [a, b] = m.stable(2);
    const c = m.join();
    m.join({ memberId: b });
    for (let ms = 0; ms < REBALANCE_MS; ms += 5000) {
      expect(m.heartbeat(a)).toBe(E.REBALANCE_IN_PROGRESS);
      m.pass(5000);
    }
    expect(m.joined(c)).toMatchObject({ errorCode: E.NONE, leader: b, generationId: 2 });
    expect(m.heartbeat(a)).toBe(E.UNKNOWN_MEMBER_ID);
  });

  test("one JoinGroup too many of a member answers the one before", () => {
    const m = new Machine();
    const [a] = m.stable(1);
    m.join();
    const first = m.join({ memberId: a, rebalanceTimeoutMs: 1 });
    expect(m.joined(first).generationId).toBe(2);
    m.join();
    m.join();
    const [waits] = [m.join({ memberId: [...m.group.members][1].memberId })];
    expect(m.joins.has(waits)).toBe(false);
    m.join({ memberId: [...m.group.members][1].memberId });
    expect(m.joined(waits).errorCode).toBe(E.REBALANCE_IN_PROGRESS);
  });

  test("a follower that joins again unchanged is told the generation", () => {
    const m = new Machine();
    const [, b] = m.stable(2);
    expect(m.joined(m.join({ memberId: b }))).toMatchObject({ generationId: 1, members: [] });
    expect(m.group.state).toBe("Stable");
    m.join({ memberId: b, protocols: new Map([["range", subscription("t", "u")]]) });
    expect(m.group.state).toBe("PreparingRebalance");
  });

  test("the leader that joins again assigns anew", () => {
    const m = new Machine();
    const [a, b] = m.stable(2);
    const leader = m.join({ memberId: a });
    expect(m.group.state).toBe("PreparingRebalance");
    m.join({ memberId: b });
    expect(m.joined(leader).members).toHaveLength(2);
  });

  test("while the leader assigns, a member that missed its answer is told again", () => {
    const m = new Machine();
    const first = m.join();
    m.passFirstWait();
    const { memberId } = m.joined(first);
    expect(m.joined(m.join({ memberId }))).toMatchObject({ generationId: 1, leader: memberId });
    expect(m.group.state).toBe("CompletingRebalance");
    const changed = m.join({ memberId, protocols: new Map([["range", subscription("u")]]) });
    expect(m.joined(changed).generationId).toBe(2);
  });

  test("above the largest size of a group members are refused", () => {
    const m = new Machine();
    for (let i = 0; i < limits.groupMembersMax; i++) m.join();
    expect(m.joined(m.join()).errorCode).toBe(E.GROUP_MAX_SIZE_REACHED);
    m.passFirstWait();
    m.passFirstWait();
    expect(m.group.state).toBe("CompletingRebalance");
    expect(m.joined(m.join({ requiresMemberId: true })).errorCode).toBe(E.GROUP_MAX_SIZE_REACHED);
  });

  test("ids given out count as members", () => {
    const m = new Machine();
    const give = () => m.joined(m.join({ requiresMemberId: true })).errorCode;
    for (let i = 0; i < limits.groupMembersMax; i++) expect(give()).toBe(E.MEMBER_ID_REQUIRED);
    expect(give()).toBe(E.GROUP_MAX_SIZE_REACHED);
  });

  test("metadata beyond the limits is refused: of a member, and of a group", () => {
    const m = new Machine();
    const large = (size: number) => ({ protocols: new Map([["range", new Uint8Array(size)]]) });
    const refused = m.join(large(limits.groupMemberBytesMax));
    expect(m.joined(refused).errorCode).toBe(E.GROUP_MAX_SIZE_REACHED);
    const most = limits.groupMemberBytesMax - 1000;
    const waiters = Array.from({ length: 9 }, () => m.join(large(most)));
    expect(waiters.map((w) => m.joins.get(w)?.errorCode)).toEqual(
      waiters.map((_, i) => (i < 8 ? undefined : E.GROUP_MAX_SIZE_REACHED)),
    );
  });
});

describe("protocols", () => {
  test("each member votes for its first protocol that all support", () => {
    const m = new Machine();
    const joins = [
      m.join({ protocols: protocols("sticky", "range", "roundrobin") }),
      m.join({ protocols: protocols("range", "roundrobin") }),
      m.join({ protocols: protocols("roundrobin", "range") }),
    ];
    m.passFirstWait();
    m.passFirstWait();
    expect(joins.map((w) => m.joined(w).protocolName)).toEqual(["range", "range", "range"]);
    const leader = m.joined(joins[0]);
    expect(leader.protocolType).toBe("consumer");
    expect(leader.members.map((x) => text(x.metadata))).toEqual(["range", "range", "range"]);
  });

  test("a member without a protocol that all support is refused", () => {
    const m = new Machine();
    m.stable(1);
    const refused = m.join({ protocols: protocols("sticky") });
    expect(m.joined(refused).errorCode).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
    const otherType = m.join({ protocolType: "connect" });
    expect(m.joined(otherType).errorCode).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
    expect(m.group.state).toBe("Stable");
  });

  test("an empty type or no protocol at all is refused", () => {
    const m = new Machine();
    expect(m.joined(m.join({ protocolType: "" })).errorCode).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
    expect(m.joined(m.join({ protocols: new Map() })).errorCode).toBe(
      E.INCONSISTENT_GROUP_PROTOCOL,
    );
  });

  test("a group that is empty again may take another type", () => {
    const m = new Machine();
    m.leave(...m.stable(2));
    expect(m.group.state).toBe("Empty");
    m.join({ protocolType: "connect", protocols: protocols("compatible") });
    m.passFirstWait();
    expect(m.group).toMatchObject({ protocolType: "connect", protocolName: "compatible" });
  });

  test("SyncGroup names the type and the protocol that it means", () => {
    const m = new Machine();
    const [a] = m.stable(1);
    const sync = (protocolType: string, protocolName: string) =>
      m.synced(m.sync(a, { protocolType, protocolName })).errorCode;
    expect(sync("consumer", "range")).toBe(E.NONE);
    expect(sync("connect", "range")).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
    expect(sync("consumer", "sticky")).toBe(E.INCONSISTENT_GROUP_PROTOCOL);
  });
});

describe("assignment", () => {
  test("SyncGroup waits for the leader's, and for the log", () => {
    const m = new Machine();
    m.logAnswers = false;
    const joins = [m.join(), m.join()];
    m.passFirstWait();
    m.passFirstWait();
    const [a, b] = joins.map((w) => m.joined(w).memberId);
    const follower = m.sync(b);
    m.pass(1000);
    expect(m.syncs.size).toBe(0);
    const leader = m.sync(a, { assignments: new Map([[b, bytes("t/0")]]) });
    expect(m.syncs.size).toBe(0);
    expect(m.group.state).toBe("CompletingRebalance");
    m.store();
    expect(text(m.synced(follower).assignment)).toBe("t/0");
    // nobody assigned it anything
    expect(m.synced(leader)).toMatchObject({ errorCode: E.NONE, assignment: bytes("") });
    expect(m.stored[0]).toMatchObject({ generation: 1, protocol: "range", leader: a });
    expect(m.stored[0].members.map((x) => text(x.assignment))).toEqual(["", "t/0"]);
    expect(text(m.synced(m.sync(b)).assignment)).toBe("t/0");
  });

  test("a member that allows no time for a rebalance has a moment to ask", () => {
    const m = new Machine();
    const join = m.join({ rebalanceTimeoutMs: 0 });
    m.passFirstWait();
    const { memberId } = m.joined(join);
    m.pass(500);
    const sync = m.sync(memberId, { assignments: new Map([[memberId, bytes("all")]]) });
    expect(text(m.synced(sync).assignment)).toBe("all");
  });

  test("an assignment that the log refuses is nobody's", () => {
    const m = new Machine();
    m.logError = E.COORDINATOR_NOT_AVAILABLE;
    const join = m.join();
    m.passFirstWait();
    const { memberId } = m.joined(join);
    const sync = m.sync(memberId, { assignments: new Map([[memberId, bytes("all")]]) });
    expect(m.synced(sync).errorCode).toBe(E.COORDINATOR_NOT_AVAILABLE);
    expect(m.group.state).toBe("PreparingRebalance");
    m.logError = 0;
    const again = m.join({ memberId });
    expect(m.joined(again).generationId).toBe(2);
    expect(m.synced(m.sync(memberId)).errorCode).toBe(E.NONE);
  });

  test("a rebalance while the log writes overtakes the assignment", () => {
    const m = new Machine();
    m.logAnswers = false;
    const join = m.join();
    m.passFirstWait();
    const { memberId } = m.joined(join);
    const sync = m.sync(memberId, { assignments: new Map([[memberId, bytes("all")]]) });
    const other = m.join();
    expect(m.synced(sync).errorCode).toBe(E.REBALANCE_IN_PROGRESS);
    m.store();
    expect(m.group.state).toBe("PreparingRebalance");
    const again = m.join({ memberId });
    expect(m.joined(again).generationId).toBe(2);
    m.sync(memberId, { assignments: new Map([[memberId, bytes("half")]]) });
    m.store();
    expect(text(m.synced(m.sync(memberId)).assignment)).toBe("half");
    expect(m.joined(other).errorCode).toBe(E.NONE);
  });

  test("an assignment beyond the limit is refused", () => {
    const m = new Machine();
    const join = m.join();
    m.passFirstWait();
    const { memberId } = m.joined(join);
    const assignments = new Map([[memberId, new Uint8Array(limits.groupBytesMax)]]);
    expect(m.synced(m.sync(memberId, { assignments })).errorCode).toBe(E.GROUP_MAX_SIZE_REACHED);
  });

  test("who has not synced by the rebalance timeout is out", () => {
    const m = new Machine();
    const joins = [m.join(), m.join()];
    m.passFirstWait();
    m.passFirstWait();
    const [a, b] = joins.map((w) => m.joined(w).memberId);
    m.sync(a);
    expect(m.group.state).toBe("Stable");
    for (let ms = 0; ms < REBALANCE_MS; ms += 5000) {
      expect([m.heartbeat(a), m.heartbeat(b)]).toEqual([E.NONE, E.NONE]);
      m.pass(5000);
    }
    expect(m.heartbeat(b)).toBe(E.UNKNOWN_MEMBER_ID);
    expect(m.heartbeat(a)).toBe(E.REBALANCE_IN_PROGRESS);
  });

  test("stale generations and strangers are refused", () => {
    const m = new Machine();
    const [a] = m.stable(1);
    expect(m.synced(m.sync(a, { generationId: 0 })).errorCode).toBe(E.ILLEGAL_GENERATION);
    expect(m.synced(m.sync("who")).errorCode).toBe(E.UNKNOWN_MEMBER_ID);
    m.join();
    expect(m.synced(m.sync(a)).errorCode).toBe(E.REBALANCE_IN_PROGRESS);
  });
});

describe("sessions", () => {
  test("a member that is not heard of is evicted; heartbeats and commits keep it", () => {
    const m = new Machine();
    const [a, b, c] = m.stable(3);
    for (let ms = 0; ms < 2 * SESSION_MS; ms += SESSION_MS / 2) {
      m.pass(SESSION_MS / 2);
      expect(m.heartbeat(a)).not.toBe(E.UNKNOWN_MEMBER_ID);
      m.group.commit({ memberId: b, groupInstanceId: null }, 1, m.now);
    }
    expect([...m.group.members].map((x) => x.memberId)).toEqual([a, b]);
    expect(m.heartbeat(c)).toBe(E.UNKNOWN_MEMBER_ID);
    expect(m.group.state).toBe("PreparingRebalance");
  });

  test("a member that waits in JoinGroup or SyncGroup does not expire", () => {
    const m = new Machine();
    const [a, b] = m.stable(2);
    m.join();
    const again = m.join({ memberId: b });
    for (let ms = 0; ms < 3 * SESSION_MS; ms += 5000) {
      m.pass(5000);
      m.heartbeat(a);
    }
    expect(m.joins.has(again)).toBe(false);
    m.join({ memberId: a });
    expect(m.joined(again).generationId).toBe(2);
    const sync = m.sync(b);
    for (let ms = 0; ms < 3 * SESSION_MS; ms += 5000) {
      m.pass(5000);
      m.heartbeat(a);
      m.heartbeat([...m.group.members].at(-1)?.memberId as string);
    }
    expect(m.group.members.get(b)).toBeDefined();
    m.sync(a);
    expect(m.synced(sync).errorCode).toBe(E.NONE);
    // its session begins with the answer
    m.pass(SESSION_MS - 1);
    expect(m.heartbeat(b)).toBe(E.NONE);
  });

  test("a new member that went away while it waited is forgotten after five minutes", () => {
    const m = new Machine();
    const [a] = m.stable(1, () => ({ rebalanceTimeoutMs: 2 * limits.groupNewMemberMsMax }));
    const gone = m.join();
    for (let ms = 0; ms < limits.groupNewMemberMsMax; ms += 5000) {
      m.pass(5000);
      m.heartbeat(a);
    }
    expect(m.joined(gone).errorCode).toBe(E.UNKNOWN_MEMBER_ID);
  });

  test("a group whose members all vanish is empty, and begins again", () => {
    const m = new Machine();
    const [a] = m.stable(2);
    m.pass(SESSION_MS);
    expect(m.group).toMatchObject({ state: "Empty", generation: 2 });
    expect(m.stored.at(-1)).toMatchObject({ generation: 2, members: [], protocol: null });
    expect(m.heartbeat(a)).toBe(E.UNKNOWN_MEMBER_ID);
    expect(m.group.deadline).toBe(Infinity);
    m.stable(1);
    expect(m.group.generation).toBe(3);
  });
});

describe("leaving", () => {
  test("a member that leaves begins a rebalance; strangers are named", () => {
    const m = new Machine();
    const [a, b] = m.stable(2);
    expect(m.leave(b, "who")).toEqual([E.NONE, E.UNKNOWN_MEMBER_ID]);
    expect(m.heartbeat(a)).toBe(E.REBALANCE_IN_PROGRESS);
  });

  test("the rebalance goes on when the one it waits for leaves", () => {
    const m = new Machine();
    const [a, b] = m.stable(2);
    const again = m.join({ memberId: a });
    expect(m.joins.has(again)).toBe(false);
    m.leave(b);
    expect(m.joined(again).generationId).toBe(2);
  });

  test("an id given out may leave", () => {
    const m = new Machine();
    const [a] = m.stable(1);
    const { memberId } = m.joined(m.join({ requiresMemberId: true }));
    const again = m.join({ memberId: a });
    expect(m.leave(memberId)).toEqual([E.NONE]);
    expect(m.joined(again).generationId).toBe(2);
  });

  test("a leader that leaves while members wait for its assignment", () => {
    const m = new Machine();
    const joins = [m.join(), m.join()];
    m.passFirstWait();
    m.passFirstWait();
    const [a, b] = joins.map((w) => m.joined(w).memberId);
    const sync = m.sync(b);
    m.leave(a);
    expect(m.synced(sync).errorCode).toBe(E.REBALANCE_IN_PROGRESS);
    expect(m.joined(m.join({ memberId: b }))).toMatchObject({ leader: b, generationId: 2 });
  });
});

describe("static members", () => {
  const as = (groupInstanceId: string, more = {}) => ({ groupInstanceId, ...more });
  const two = (m: Machine) => m.stable(2, (i) => as(`i${i}`));

  test("one that comes back goes on in the generation, under a new id", () => {
    const m = new Machine();
    const [a, b] = two(m);
    const back = m.joined(m.join(as("i1")));
    expect(back).toMatchObject({ errorCode: E.NONE, generationId: 1, leader: a, members: [] });
    expect(back.memberId).toMatch(/^i1-/);
    expect(back.memberId).not.toBe(b);
    expect(m.group.state).toBe("Stable");
    expect(text(m.synced(m.sync(back.memberId, as("i1"))).assignment)).toBe(b);
    expect(m.stored.at(-1)?.members.map((x) => x.memberId)).toEqual([a, back.memberId]);
  });

  test("the old id is fenced", () => {
    const m = new Machine();
    const [, b] = two(m);
    m.join(as("i1"));
    const identity = { memberId: b, groupInstanceId: "i1" };
    expect(m.group.heartbeat(identity, 1, m.now)).toBe(E.FENCED_INSTANCE_ID);
    expect(m.group.commit(identity, 1, m.now)).toBe(E.FENCED_INSTANCE_ID);
    expect(m.group.leave([identity], m.now)).toEqual([E.FENCED_INSTANCE_ID]);
    expect(m.synced(m.sync(b, as("i1"))).errorCode).toBe(E.FENCED_INSTANCE_ID);
    expect(m.joined(m.join({ ...identity })).errorCode).toBe(E.FENCED_INSTANCE_ID);
    expect(m.heartbeat(b)).toBe(E.UNKNOWN_MEMBER_ID);
  });

  test("a leader that comes back skips the assignment (KIP-814)", () => {
    const m = new Machine();
    two(m);
    const back = m.joined(m.join(as("i0")));
    expect(back).toMatchObject({ leader: back.memberId, skipAssignment: true });
    expect(back.members).toHaveLength(2);
  });

  test("a client that does not know of that is told that its old id leads", () => {
    const m = new Machine();
    const [a] = two(m);
    const back = m.joined(m.join(as("i0", { knowsSkipAssignment: false })));
    expect(back).toMatchObject({ leader: a, skipAssignment: false, members: [] });
    // and leads all the same when it asks again
    m.join({ memberId: back.memberId, groupInstanceId: "i0" });
    expect(m.group.state).toBe("PreparingRebalance");
  });

  test("the answer waits for the log", () => {
    const m = new Machine();
    two(m);
    m.logAnswers = false;
    const join = m.join(as("i1"));
    expect(m.joins.has(join)).toBe(false);
    m.store(E.COORDINATOR_NOT_AVAILABLE);
    expect(m.joined(join)).toMatchObject({ errorCode: E.COORDINATOR_NOT_AVAILABLE, memberId: "" });
    const again = m.join(as("i1"));
    m.store();
    expect(m.joined(again).errorCode).toBe(E.NONE);
    expect(m.group.members.size).toBe(2);
  });

  test("a rebalance that begins meanwhile takes the JoinGroup over", () => {
    const m = new Machine();
    const [a] = two(m);
    m.logAnswers = false;
    const join = m.join(as("i1"));
    m.join({ memberId: a, groupInstanceId: "i0" });
    expect(m.joined(join).generationId).toBe(2);
    m.store();
    expect(m.group.state).toBe("CompletingRebalance");
  });

  test("another subscription is worth a rebalance; other bytes beside it are not", () => {
    const m = new Machine();
    two(m);
    const range = (b: Uint8Array) => ({ protocols: new Map([["range", b]]) });
    const more = new Uint8Array([...subscription("t").slice(0, -4), 0, 0, 0, 1, 7]);
    m.joined(m.join(as("i1", range(more))));
    expect(m.group.state).toBe("Stable");
    m.join(as("i1", range(subscription("t", "u"))));
    expect(m.group.state).toBe("PreparingRebalance");
  });

  test("another protocol is worth a rebalance", () => {
    const m = new Machine();
    const both = () => ({ protocols: protocols("range", "sticky") });
    m.stable(1, () => as("i0", both()));
    m.join(as("i0", { protocols: protocols("sticky", "range") }));
    expect(m.group.state).toBe("CompletingRebalance");
    expect(m.group.protocolName).toBe("sticky");
  });

  test("one that comes back while the leader assigns begins a rebalance", () => {
    const m = new Machine();
    const joins = [m.join(as("i0")), m.join(as("i1"))];
    m.passFirstWait();
    m.passFirstWait();
    const [a] = joins.map((w) => m.joined(w).memberId);
    const back = m.join(as("i1"));
    m.join({ memberId: a, groupInstanceId: "i0" });
    expect(m.joined(back)).toMatchObject({ generationId: 2, leader: a });
  });

  test("two that wait under one instance id: the older is fenced", () => {
    const m = new Machine();
    const first = m.join(as("i0"));
    const second = m.join(as("i0"));
    expect(m.joined(first).errorCode).toBe(E.FENCED_INSTANCE_ID);
    m.passFirstWait();
    m.passFirstWait();
    expect(m.joined(second).errorCode).toBe(E.NONE);
    expect(m.group.members.size).toBe(1);
  });

  test("one that is away keeps its place through rebalances, until its session ends", () => {
    const m = new Machine();
    const [a, b] = m.stable(2, (i) => as(`i${i}`, { sessionTimeoutMs: 2 * REBALANCE_MS }));
    const again = m.join({ memberId: a, groupInstanceId: "i0" });
    m.pass(REBALANCE_MS);
    expect(m.joined(again).members.map((x) => x.memberId)).toEqual([a, b]);
  });

  test("LeaveGroup by instance id", () => {
    const m = new Machine();
    const [a] = two(m);
    const leave = (groupInstanceId: string) =>
      m.group.leave([{ memberId: "", groupInstanceId }], m.now)[0];
    expect(leave("i1")).toBe(E.NONE);
    expect(leave("i1")).toBe(E.UNKNOWN_MEMBER_ID);
    expect([...m.group.members].map((x) => x.memberId)).toEqual([a]);
  });
});

describe("commits", () => {
  const who = (memberId: string) => ({ memberId, groupInstanceId: null });

  test("generations fence them", () => {
    const m = new Machine();
    const [a] = m.stable(2);
    expect(m.group.commit(who(a), 1, m.now)).toBe(E.NONE);
    expect(m.group.commit(who(a), 0, m.now)).toBe(E.ILLEGAL_GENERATION);
    expect(m.group.commit(who("who"), 1, m.now)).toBe(E.UNKNOWN_MEMBER_ID);
    expect(m.group.commit(who(""), -1, m.now)).toBe(E.UNKNOWN_MEMBER_ID);
  });

  test("while members come back a commit of the old generation is good", () => {
    const m = new Machine();
    const [a, b] = m.stable(2);
    m.join({ memberId: a });
    expect(m.group.commit(who(b), 1, m.now)).toBe(E.NONE);
    m.join({ memberId: b });
    expect(m.group.commit(who(b), 1, m.now)).toBe(E.ILLEGAL_GENERATION);
    expect(m.group.commit(who(b), 2, m.now)).toBe(E.REBALANCE_IN_PROGRESS);
  });

  test("an empty group takes commits of anybody without a generation", () => {
    const m = new Machine();
    expect(m.group.commit(who(""), -1, m.now)).toBe(E.NONE);
    expect(m.group.commit(who("who"), -1, m.now)).toBe(E.NONE);
    expect(m.group.commit(who("who"), 0, m.now)).toBe(E.UNKNOWN_MEMBER_ID);
  });
});

describe("after a restart", () => {
  test("members go on in their generation, with sessions begun anew", () => {
    const m = new Machine();
    const [a, b] = m.stable(2, (i) => (i === 1 ? { groupInstanceId: "i" } : {}));
    const after = new Machine(Group.restore("g", m.stored[0], 1000));
    after.pass(SESSION_MS - 1);
    expect(after.heartbeat(a)).toBe(E.NONE);
    expect(text(after.synced(after.sync(b)).assignment)).toBe(b);
    expect(after.group).toMatchObject({ generation: 1, state: "Stable", protocolName: "range" });
    expect(after.group.members.leader).toBe(a);
    expect(after.joined(after.join({ groupInstanceId: "i" })).generationId).toBe(1);
    after.pass(SESSION_MS);
    expect(after.group).toMatchObject({ generation: 2, state: "Empty" });
  });

  test("an empty group keeps its generation", () => {
    const m = new Machine();
    m.leave(...m.stable(1));
    const after = new Machine(Group.restore("g", m.stored.at(-1) as never, 1000));
    expect(after.group).toMatchObject({ generation: 2, state: "Empty", protocolType: "consumer" });
    after.stable(1);
    expect(after.group.generation).toBe(3);
  });
});

test("a group that ends answers everybody, and takes nobody", () => {
  const m = new Machine();
  const [a, b] = m.stable(2);
  const join = m.join({ memberId: a });
  m.group.end();
  m.drive();
  expect(m.joined(join).errorCode).toBe(E.COORDINATOR_NOT_AVAILABLE);
  expect(m.joined(m.join()).errorCode).toBe(E.COORDINATOR_NOT_AVAILABLE);
  expect(m.heartbeat(b)).toBe(E.COORDINATOR_NOT_AVAILABLE);
  expect(m.synced(m.sync(b)).errorCode).toBe(E.COORDINATOR_NOT_AVAILABLE);
  expect(m.leave(a)).toEqual([E.COORDINATOR_NOT_AVAILABLE]);
});

test("a group knows what its consumers subscribe to, where they speak that protocol", () => {
  const m = new Machine();
  expect(m.group.topics()).toBeNull();
  m.stable(2, (i) => ({ protocols: new Map([["range", subscription("t", `t${i}`)]]) }));
  expect(m.group.topics()).toEqual(new Set(["t", "t0", "t1"]));
  const other = new Machine();
  other.stable(1, () => ({ protocols: protocols("range") }));
  expect(other.group.topics()).toBeNull();
});
