import type { Command } from "commander";
import type { GroupStanding } from "../admin/backend.ts";
import type { GroupSummary } from "../groups/admin.ts";
import type { OffsetMove } from "../groups/reset.ts";
import { callAdmin } from "./admin-client.ts";
import { whole } from "./arguments.ts";
import { UsageError } from "./failure.ts";
import { defaultAdminServer } from "./server-address.ts";
import { confirm, table } from "./terminal.ts";

type Flags = { server: string; json?: true };
type ResetFlags = Flags & { to: string; topic?: string; partition?: number; dryRun?: true };

const examples = `Examples:
  milepost groups list
  milepost groups describe fares                           who reads what, and how far behind
  milepost groups reset fares --to earliest --dry-run      old offsets and new ones, nothing done
  milepost groups reset fares --to @2026-11-21T08:30:00Z
  milepost groups reset fares --to -100 --topic positions --partition 3
  milepost groups delete fares
`;

const targets = "earliest, latest, an offset, @TIME in ms or ISO, or +N or -N from where it is";

export function register(program: Command): void {
  const groups = program
    .command("groups")
    .description("list, describe, reset and delete consumer groups")
    .addHelpText("before", examples);
  const add = (usage: string, summary: string): Command =>
    groups
      .command(usage)
      .description(summary)
      .option("--server <HOST:PORT>", "the gateway's admin port", defaultAdminServer)
      .option("--json", "print JSON");

  add("list", "every group, and how many members it has").action(list);
  add("describe <GROUP>", "members, and what is committed: lag in records and in seconds").action(
    describe,
  );
  add("reset <GROUP>", "move what a group without members has committed")
    .requiredOption("--to <WHERE>", targets)
    .option("--topic <T>", "of this topic only; also where nothing was committed yet")
    .option("--partition <P>", "of this partition of --topic only", whole(0, 1_000_000))
    .option("--dry-run", "only show what would become of the offsets")
    .action(reset);
  add("delete <GROUP>", "delete a group without members, and what it has committed")
    .option("--yes", "do not ask")
    .action(remove);
}

async function list(flags: Flags): Promise<void> {
  const answer = (await callAdmin(flags.server, "GET", "/v1/admin/groups")) as {
    groups: GroupSummary[];
  };
  if (flags.json) return printJson(answer);
  const rows = answer.groups.map(({ group, state, protocolType, members }) => {
    return [group, state, members, protocolType];
  });
  process.stdout.write(table(["GROUP", "STATE", "MEMBERS", "PROTOCOL"], rows));
}

async function describe(group: string, flags: Flags): Promise<void> {
  const answer = (await callAdmin(flags.server, "GET", path(group))) as GroupStanding;
  if (flags.json) return printJson(answer);
  const owners = new Map(
    answer.members.flatMap(({ memberId, assignment }) =>
      assignment.map(([topic, partition]) => [`${topic}/${partition}`, memberId]),
    ),
  );
  const offsets = answer.offsets.map((o) => [
    o.topic,
    o.partition,
    o.committed,
    o.end,
    o.lag,
    o.lagSeconds === null ? "?" : o.lagSeconds.toFixed(1),
    owners.get(`${o.topic}/${o.partition}`) ?? "-",
  ]);
  const members = answer.members.map(({ memberId, clientId, host, assignment }) => {
    return [memberId, clientId, host, assignment.length];
  });
  const offsetHead = ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "SECONDS", "MEMBER"];
  const memberHead = ["MEMBER", "CLIENT", "HOST", "PARTITIONS"];
  process.stdout.write(
    `${table(["GROUP", "STATE", "PROTOCOL"], [[group, answer.state, answer.protocolType]])}\n` +
      `${table(memberHead, members)}\n${table(offsetHead, offsets)}`,
  );
}

async function reset(group: string, flags: ResetFlags): Promise<void> {
  const { to, topic, partition, dryRun = false } = flags;
  const { parseResetTarget } = await import("../groups/reset.ts");
  if (parseResetTarget(to) === null) {
    throw new UsageError(`--to: expected ${targets}, not "${to}"`);
  }
  if (partition !== undefined && topic === undefined) {
    throw new UsageError("--partition: say of which --topic");
  }
  const body = { to, topic, partition, dryRun };
  const answer = (await callAdmin(flags.server, "POST", path(group), body)) as {
    offsets: OffsetMove[];
  };
  if (flags.json) return printJson(answer);
  const rows = answer.offsets.map((o) => [o.topic, o.partition, o.from ?? "-", o.to]);
  process.stdout.write(table(["TOPIC", "PARTITION", "OLD", "NEW"], rows));
  if (dryRun) process.stderr.write("nothing was changed (--dry-run)\n");
}

async function remove(group: string, flags: Flags & { yes?: true }): Promise<void> {
  if (!flags.yes) {
    const sure = await confirm(`Delete group ${group} and what it has committed?`);
    if (sure === null) {
      throw new UsageError("deleting a group deletes what it has committed: say --yes");
    }
    if (!sure) {
      process.stderr.write("not deleted\n");
      process.exitCode = 1;
      return;
    }
  }
  const name = encodeURIComponent(group);
  await callAdmin(flags.server, "DELETE", `${path(group)}&confirm=${name}`);
  if (flags.json) return printJson({ group, deleted: true });
  process.stderr.write(`deleted ${group}\n`);
}

function path(group: string): string {
  return `/v1/admin/groups?group=${encodeURIComponent(group)}`;
}

function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
