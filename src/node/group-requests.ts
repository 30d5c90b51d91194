/** What the admin port asks of the consumer groups: the main thread asks, the Kafka thread does. */
import type { Worker } from "node:worker_threads";
import type { GroupStanding } from "../admin/backend.ts";
import type { GroupAdmin, GroupSummary } from "../groups/admin.ts";
import { LagReader } from "../groups/lag.ts";
import { GroupReset, type OffsetMove, type Reset } from "../groups/reset.ts";
import type { LogPort } from "../log/client.ts";
import type { LogReader } from "../log/reader.ts";
import { MilepostError, type ErrorCode } from "../model/errors.ts";

/** Name → [arguments, answer]. */
export type GroupRequests = {
  list: [[], GroupSummary[]];
  describe: [[group: string], GroupStanding];
  delete: [[group: string], void];
  reset: [[group: string, reset: Reset], OffsetMove[]];
};
type GroupOp = keyof GroupRequests;

export type AskGroups = { groups: number; op: GroupOp; args: unknown[] };
export type GroupsAnswer =
  | { groups: number; result: unknown }
  | { groups: number; error: { code: ErrorCode; message: string } };

/** Just after a start the groups are being read: who asks then waits so long at most. */
const loadingMsMax = 5000;
const loadingEveryMs = 50;

/** In the main thread. */
export class GroupsPort {
  readonly #worker: Worker;
  readonly #pending = new Map<number, PromiseWithResolvers<unknown>>();
  #nextId = 1;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on("message", (m: GroupsAnswer | { groups?: undefined }) => {
      if (m.groups === undefined) return;
      const pending = this.#pending.get(m.groups);
      this.#pending.delete(m.groups);
      if ("error" in m) pending?.reject(remoteError(m.error));
      else pending?.resolve(m.result);
    });
    worker.on("exit", () => {
      for (const { reject } of this.#pending.values()) reject(new MilepostError("shutdown"));
      this.#pending.clear();
    });
  }

  call<O extends GroupOp>(op: O, ...args: GroupRequests[O][0]): Promise<GroupRequests[O][1]> {
    const groups = this.#nextId++;
    const pending = Promise.withResolvers<unknown>();
    this.#pending.set(groups, pending);
    this.#worker.postMessage({ groups, op, args } satisfies AskGroups);
    return pending.promise as Promise<GroupRequests[O][1]>;
  }
}

/** The same error on this side; its message stands as it was written there. */
function remoteError({ code, message }: { code: ErrorCode; message: string }): MilepostError {
  const error = new MilepostError(code);
  error.message = message;
  return error;
}

/** In the Kafka thread. */
export class GroupsDesk {
  readonly #groups: GroupAdmin;
  readonly #lag: LagReader;
  readonly #reset: GroupReset;

  constructor(groups: GroupAdmin, log: LogPort, reader: LogReader, now: () => number) {
    this.#groups = groups;
    this.#lag = new LagReader(log, reader, now);
    this.#reset = new GroupReset(groups, log, reader);
  }

  /** Faults of the program are thrown. */
  async answer({ groups, op, args }: AskGroups): Promise<GroupsAnswer> {
    const began = performance.now();
    for (;;) {
      try {
        return { groups, result: await this.#do(op, args) };
      } catch (error) {
        if (!(error instanceof MilepostError)) throw error;
        const { code, message } = error;
        const loading = code === "groups_loading" && performance.now() - began < loadingMsMax;
        if (!loading) return { groups, error: { code, message } };
      }
      await new Promise((resolve) => setTimeout(resolve, loadingEveryMs));
    }
  }

  async #do(op: GroupOp, args: unknown[]): Promise<GroupRequests[GroupOp][1]> {
    if (op === "list") return this.#groups.list();
    const group = args[0] as string;
    if (op === "delete") return this.#groups.delete(group);
    if (op === "reset") return this.#reset.run(group, args[1] as Reset);
    const { offsets, ...description } = this.#groups.describe(group);
    return { ...description, offsets: await this.#lag.read(offsets) };
  }
}
