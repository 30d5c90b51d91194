/** Whatever is committed, deleted and refused: what memory holds is what the log says. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { GroupCoordinator } from "../../src/groups/coordinator.ts";
import { OFFSETS_TOPIC } from "../../src/groups/journal.ts";
import type { LogPort } from "../../src/log/client.ts";
import { LogReader } from "../../src/log/reader.ts";
import { Registry } from "../../src/metrics/registry.ts";
import { MilepostError } from "../../src/model/errors.ts";
import { builtInTopics } from "../../src/model/topic-config.ts";
import { startLog } from "../log/log-thread.ts";

const GROUPS = ["a", "b", "c"];
const nobody = { memberId: "", groupInstanceId: null };
let log: LogPort;

beforeAll(async () => {
  const dir = mkdtempSync(join(tmpdir(), "milepost-history-"));
  const { port } = await startLog(dir, (stop) =>
    afterAll(async () => {
      await stop();
      rmSync(dir, { recursive: true, force: true });
    }),
  );
  log = await port();
});

/** The same log, on a disk that is full at times. */
function atTimesFull(): { port: LogPort; disk: { full: boolean } } {
  const disk = { full: false };
  const append: LogPort["append"] = (...args) =>
    disk.full ? Promise.reject(new MilepostError("disk_full")) : log.append(...args);
  const port = new Proxy(log, {
    get(target, name) {
      if (name === "append") return append;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { port, disk };
}

const open = (port: LogPort): GroupCoordinator =>
  new GroupCoordinator({
    log: port,
    reader: new LogReader(port),
    registry: new Registry(),
    report: () => {},
    now: Date.now,
  });

type Step = { kind: string; group: number; partition: number };
const step = fc.record({
  kind: fc.oneof(
    { weight: 8, arbitrary: fc.constant("commit") },
    { weight: 2, arbitrary: fc.constantFrom("forget", "delete", "wait") },
    { weight: 3, arbitrary: fc.constantFrom("full", "topic", "expire") },
  ),
  group: fc.nat(GROUPS.length - 1),
  partition: fc.nat(1),
});

function offsetsOf({ commits }: GroupCoordinator): string[] {
  const rows = GROUPS.flatMap((group) =>
    commits
      .fetch(group, null)
      .topics.flatMap(({ name, partitions }) =>
        partitions.map((p) => `${group} ${name}/${p.partitionIndex} ${p.committedOffset}`),
      ),
  );
  return rows.sort();
}

/** `offset`: what a commit commits. */
async function take(
  { commits, table }: GroupCoordinator,
  disk: { full: boolean },
  s: Step,
  offset: number,
): Promise<unknown> {
  const group = GROUPS[s.group];
  const place = { topic: "u", partition: s.partition };
  if (s.kind === "commit") {
    const committed = { ...place, offset, leaderEpoch: -1, metadata: "" };
    const as = { member: nobody, generation: -1, retentionMs: -1, knowsGroupNotFound: true };
    return commits.commit({ group, ...as, offsets: [committed] });
  }
  if (s.kind === "forget") return commits.deleteOffsets(group, [place]);
  if (s.kind === "delete") {
    const entry = table.get(group);
    return entry === undefined || entry.deleting ? null : commits.deleteGroup(entry);
  }
  if (s.kind === "expire") return commits.expire();
  if (s.kind === "full") disk.full = !disk.full;
  return null;
}

test("after any history a restart finds what was there", async () => {
  const offsets = builtInTopics.find(({ name }) => name === OFFSETS_TOPIC);
  const history = fc.asyncProperty(
    fc.array(step, { minLength: 5, maxLength: 60, size: "max" }),
    async (steps) => {
      for (const { name } of log.topics()) await log.call("deleteTopic", name);
      await log.call("createTopic", OFFSETS_TOPIC, offsets?.partitions ?? 1, offsets?.config ?? {});
      await log.call("createTopic", "u", 2, {});
      const { port, disk } = atTimesFull();
      const groups = open(port);
      await groups.loaded;
      const running: Promise<unknown>[] = [];
      let recreated = -1;
      for (const [i, s] of steps.entries()) {
        if (s.kind === "wait") await Promise.all(running);
        else if (s.kind === "topic") {
          await log.call("deleteTopic", "u");
          recreated = i;
          await log.call("createTopic", "u", 2, {});
        } else running.push(take(groups, disk, s, i));
      }
      await Promise.all(running);
      disk.full = false;
      // what was begun before is done, and what could not be written is tried again
      await take(groups, disk, { kind: "commit", group: 0, partition: 0 }, steps.length);
      await setImmediate();
      await groups.commits.forgetTopics();
      const before = offsetsOf(groups);
      groups.stop();
      const again = open(log);
      await again.loaded;
      expect(offsetsOf(again)).toEqual(before);
      // nothing is left of a topic that went, though it is there again
      expect(before.filter((row) => Number(row.split(" ")[2]) < recreated)).toEqual([]);
      again.stop();
    },
  );
  await fc.assert(history, { numRuns: 40 });
}, 240_000);
