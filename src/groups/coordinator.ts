/**
 * The groups of this node. Each is a machine that only this thread drives, one request or tick
 * after the other; what it wants written goes through the journal, who waits is answered here.
 * One timer serves all groups.
 */
import { randomUUID } from "node:crypto";
import type { LogPort } from "../log/client.ts";
import type { LogReader } from "../log/reader.ts";
import type { Registry } from "../metrics/registry.ts";
import { limits } from "../model/limits.ts";
import { E } from "../wire/errors.ts";
import type { GroupAdmin } from "./admin.ts";
import { Commits } from "./commits.ts";
import { Group } from "./group.ts";
import type {
  Action,
  Identity,
  JoinAnswer,
  JoinRequest,
  SyncAnswer,
  SyncRequest,
  Waiter,
} from "./group-types.ts";
import { Journal } from "./journal.ts";
import { keepSafe, type Loaded, loadGroups } from "./load.ts";
import { memberBytes } from "./members.ts";
import { GroupMetrics } from "./metrics.ts";
import { GroupOperator } from "./operator.ts";
import { refusedJoin, refusedSync } from "./rebalance.ts";
import { encodeGroup, encodeGroupKey } from "./records.ts";
import { RunningClock } from "./running-clock.ts";
import { type Entry, GroupTable } from "./table.ts";

/** The timer runs at least so often; when it is later than this, the thread stood still. */
const TICK_MS = 1000;
const STALL_MS = 500;

export type CoordinatorOptions = {
  log: LogPort;
  reader: LogReader;
  registry: Registry;
  /** A line for the operator. */
  report(line: string): void;
  /** ms. */
  now(): number;
};

export class GroupCoordinator {
  /** Resolves once all groups are loaded, or cannot be for now. */
  readonly loaded: Promise<void>;
  readonly commits: Commits;
  readonly operator: GroupAdmin;
  readonly table = new GroupTable();
  readonly #log: LogPort;
  readonly #report: (line: string) => void;
  readonly #now: () => number;
  readonly #clock = new RunningClock();
  readonly #journal: Journal;
  readonly #metrics: GroupMetrics;
  readonly #waiters = new Map<Waiter, (answer: never) => void>();
  readonly #stopped = new AbortController();
  /** Topic → its id, when it was last looked. */
  #topics = new Map<string, string>();
  #waiterIds = 0;
  #timer: NodeJS.Timeout | undefined;
  /** On the running clock. */
  #timerAt = Infinity;
  #sweepAt: number;

  /** Groups are loaded in the background; until a group is, it is refused. */
  constructor({ log, reader, registry, report, now }: CoordinatorOptions) {
    this.#log = log;
    this.#report = report;
    this.#now = now;
    this.#journal = new Journal(log, report);
    this.#metrics = new GroupMetrics(registry, this.table, log, reader, now);
    this.commits = new Commits({
      table: this.table,
      journal: this.#journal,
      log,
      now,
      running: () => this.#clock.now(),
      changed: (entry) => this.#drive(entry),
      counted: (offsets) => (this.#metrics.commits.value += offsets),
    });
    this.operator = new GroupOperator(this.table, this.commits);
    this.#sweepAt = this.#clock.now() + limits.offsetSweepMs;
    log.onTopics(() => this.#topicsChanged());
    this.#topicsChanged();
    this.#arm(this.#clock.now() + TICK_MS);
    const take = (p: number, groups: Map<string, Loaded>): void => this.#loaded(p, groups);
    this.loaded = new Promise((tried) => {
      void loadGroups(log, report, take, tried, this.#stopped.signal);
    });
  }

  /** Null: the client has gone meanwhile. */
  join(
    group: string,
    request: Omit<JoinRequest, "uuid">,
    gone: AbortSignal,
  ): Promise<JoinAnswer | null> {
    const { memberId } = request;
    const error = this.#checkJoin(group, request);
    if (error !== E.NONE) return Promise.resolve(refusedJoin(error, memberId));
    const found = this.table.get(group);
    // who brings a member id comes to a group that is there
    if (found === undefined && memberId !== "") {
      return Promise.resolve(refusedJoin(E.UNKNOWN_MEMBER_ID, memberId));
    }
    const entry = found ?? this.table.add(new Group(group), this.#now());
    return this.#wait(gone, (waiter) => {
      entry.group.join({ ...request, uuid: randomUUID() }, waiter, this.#clock.now());
      this.#drive(entry);
    });
  }

  #checkJoin(group: string, request: Omit<JoinRequest, "uuid">): number {
    const error = this.table.check(group);
    if (error !== E.NONE) return error;
    const { sessionTimeoutMs, protocolType, protocols, groupInstanceId } = request;
    const { groupSessionMsMin: min, groupSessionMsMax: max, groupNameCharsMax } = limits;
    if (sessionTimeoutMs < min || sessionTimeoutMs > max) return E.INVALID_SESSION_TIMEOUT;
    if (groupInstanceId !== null && groupInstanceId.length > groupNameCharsMax) {
      return E.INVALID_REQUEST;
    }
    for (const name of [protocolType, ...protocols.keys()]) {
      if (name.length > groupNameCharsMax) return E.INCONSISTENT_GROUP_PROTOCOL;
    }
    if (this.table.isFull && this.table.get(group) === undefined) return E.POLICY_VIOLATION;
    return this.table.hasRoom(memberBytes(request)) ? E.NONE : E.GROUP_MAX_SIZE_REACHED;
  }

  /** Null: the client has gone meanwhile. */
  sync(group: string, request: SyncRequest, gone: AbortSignal): Promise<SyncAnswer | null> {
    const error = this.table.check(group);
    const entry = this.table.get(group);
    // clients of old do not know of loading here, and join anew (as Kafka has it)
    const isLoading = error === E.COORDINATOR_LOAD_IN_PROGRESS;
    const refused = isLoading ? E.REBALANCE_IN_PROGRESS : error || E.UNKNOWN_MEMBER_ID;
    if (error !== E.NONE || entry === undefined) return Promise.resolve(refusedSync(refused));
    return this.#wait(gone, (waiter) => {
      entry.group.sync(request, waiter, this.#clock.now());
      this.#drive(entry);
    });
  }

  heartbeat(group: string, member: Identity, generation: number): number {
    const error = this.table.check(group);
    // it may well be a member, and its session begins when the group is loaded
    if (error === E.COORDINATOR_LOAD_IN_PROGRESS) return E.NONE;
    const entry = this.table.get(group);
    if (error !== E.NONE || entry === undefined) return error || E.UNKNOWN_MEMBER_ID;
    const result = entry.group.heartbeat(member, generation, this.#clock.now());
    this.#drive(entry);
    return result;
  }

  leave(group: string, members: readonly Identity[]): { errorCode: number; errors: number[] } {
    const errorCode = this.table.check(group);
    if (errorCode !== E.NONE) return { errorCode, errors: [] };
    const entry = this.table.get(group);
    if (entry === undefined) return { errorCode, errors: members.map(() => E.UNKNOWN_MEMBER_ID) };
    const errors = entry.group.leave(members, this.#clock.now());
    this.#drive(entry);
    return { errorCode, errors };
  }

  /** To be called before the registry's snapshot: lag as it is now. */
  measure(): Promise<void> {
    return this.#metrics.measure();
  }

  /** Who waits is sent away, nobody is taken any more; what was begun to be written is. */
  stop(): void {
    this.#stopped.abort();
    this.table.isStopped = true;
    clearTimeout(this.#timer);
    this.#journal.close();
    for (const entry of this.table) {
      entry.group.end();
      this.#drive(entry);
    }
  }

  // --- one group ----------------------------------------------------------------------------

  /** The machine answers under a number; who goes away is not kept for it. */
  #wait<T>(gone: AbortSignal, ask: (waiter: Waiter) => void): Promise<T | null> {
    const waiter = ++this.#waiterIds;
    return new Promise((resolve) => {
      const leave = (): void => {
        this.#waiters.delete(waiter);
        resolve(null);
      };
      this.#waiters.set(waiter, (answer: T) => {
        gone.removeEventListener("abort", leave);
        resolve(answer);
      });
      ask(waiter);
      if (!this.#waiters.has(waiter)) return;
      if (gone.aborted) leave();
      else gone.addEventListener("abort", leave, { once: true });
    });
  }

  /** Does what a group asks for after something has happened to it. */
  #drive(entry: Entry): void {
    const { group } = entry;
    for (let actions = group.take(); actions.length > 0; actions = group.take()) {
      for (const action of actions) this.#act(entry, action);
    }
    if (group.state !== entry.state) {
      if (group.state === "CompletingRebalance") this.#metrics.rebalances.value++;
      entry.state = group.state;
      entry.sinceMs = this.#now();
    }
    this.table.weigh(entry);
    const isNothing = group.isPristine && entry.offsets.size === 0 && entry.committing.size === 0;
    if (isNothing && !entry.stored && !entry.deleting) this.table.remove(entry);
    else this.#arm(group.deadline);
  }

  #act(entry: Entry, action: Action): void {
    if (action.kind === "persist") {
      this.#persist(entry, action);
      return;
    }
    const answer = this.#waiters.get(action.waiter);
    this.#waiters.delete(action.waiter);
    answer?.(action.answer as never);
  }

  #persist(entry: Entry, { store, snapshot }: Action & { kind: "persist" }): void {
    const { group } = entry;
    const key = encodeGroupKey(group.id);
    const value = encodeGroup({ snapshot, sinceMs: this.#now() });
    entry.stored = true;
    const persisted = (error: number): void => {
      group.persisted(store, error, this.#clock.now());
      this.#drive(entry);
    };
    void this.#journal.append(group.id, [{ key, value }], () => {}).then(persisted);
  }

  // --- all groups ---------------------------------------------------------------------------

  #loaded(partition: number, groups: Map<string, Loaded>): void {
    for (const [id, { state, offsets }] of groups) {
      const now = this.#clock.now();
      const group = state === null ? new Group(id) : Group.restore(id, state.snapshot, now);
      const entry = this.table.add(group, state?.sinceMs ?? this.#now(), offsets);
      entry.stored = state !== null;
      this.#arm(group.deadline);
      // one that was deleted just before the node ended
      for (const topic of offsets.topics()) {
        if (this.#log.topic(topic) === null) this.commits.topicGone(topic);
      }
    }
    this.table.setLoaded(partition);
    void this.commits.forgetTopics();
  }

  #topicsChanged(): void {
    const before = this.#topics;
    this.#topics = new Map(this.#log.topics().map(({ name, id }) => [name, id]));
    for (const [name, id] of before) {
      if (this.#topics.get(name) !== id) this.commits.topicGone(name);
    }
    void this.commits.forgetTopics();
    // as a start would; what fails now is tried again then
    if (this.table.isLoaded && !this.table.isStopped)
      void keepSafe(this.#log, this.#report).catch(() => {});
  }

  /** The timer runs at `at`, if not before. */
  #arm(at: number): void {
    if (at >= this.#timerAt || this.table.isStopped) return;
    this.#timerAt = at;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#tick, Math.max(at - this.#clock.now(), 0)).unref();
  }

  #tick = (): void => {
    const lateMs = this.#clock.now() - this.#timerAt;
    // sockets that became readable meanwhile are read before anybody is evicted
    if (lateMs > STALL_MS) this.#clock.lose(lateMs);
    const now = this.#clock.now();
    let next = now + TICK_MS;
    for (const entry of this.table) {
      if (entry.group.deadline <= now) {
        const { members } = entry.group;
        const before = members.size;
        entry.group.tick(now);
        this.#metrics.evictions.value += before - members.size;
        this.#drive(entry);
      }
      next = Math.min(next, entry.group.deadline);
    }
    void this.commits.forgetTopics();
    if (now >= this.#sweepAt) {
      this.#sweepAt = now + limits.offsetSweepMs;
      void this.commits.expire();
    }
    this.#timerAt = Infinity;
    this.#arm(next);
  };
}
