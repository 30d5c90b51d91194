import { afterAll, beforeAll, expect, test } from "vitest";
import type { GroupStanding } from "../../src/admin/backend.ts";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { milepost, RunningCommand } from "./run.ts";
import { TestTopics } from "./topic.ts";

// each consumer loads its client anew, which takes a second of a busy machine
const slow = 60_000;

let gateway: Gateway;
let topics: TestTopics;
beforeAll(async () => {
  gateway = await startGateway();
  topics = new TestTopics(gateway.ports.kafka);
}, slow);
afterAll(async () => {
  await topics.close();
  await gateway.stop();
});

const groups = (...args: string[]) =>
  milepost(["groups", ...args, "--server", `127.0.0.1:${gateway.ports.admin}`]);
const member = (topic: string, group: string, ...args: string[]) => {
  const server = `127.0.0.1:${gateway.ports.kafka}`;
  return new RunningCommand([
    "consume",
    topic,
    "--group",
    group,
    "--from",
    "earliest",
    "--server",
    server,
    ...args,
  ]);
};
const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, i) => String(from + i));

async function standing(group: string): Promise<GroupStanding> {
  const { stdout, stderr } = await groups("describe", group, "--json");
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as GroupStanding;
}

/** Of each member, how many partitions it has, once the group has settled with so many members. */
async function settled(group: string, members: number): Promise<number[]> {
  const url = `http://127.0.0.1:${gateway.ports.admin}/v1/admin/groups?group=${group}`;
  for (;;) {
    const found = (await (await fetch(url)).json()) as GroupStanding;
    if (found.state === "Stable" && found.members.length === members) {
      return found.members.map(({ assignment }) => assignment.length).toSorted();
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test(
  "lag, resets of every kind, and delete",
  async () => {
    for (const partition of [0, 1]) await topics.write("trips", numbers(0, 100), partition);
    const between = Date.now() + 1;
    while (Date.now() <= between) await new Promise((resolve) => setTimeout(resolve, 1));
    await topics.write("trips", numbers(100, 150));
    const first = await member("trips", "fares", "--count", "30").outcome;
    expect([first.code, first.stdout.split("\n").length - 1]).toEqual([0, 30]);

    const before = await standing("fares");
    expect(before).toMatchObject({
      group: "fares",
      state: "Empty",
      protocolType: "consumer",
      members: [],
    });
    const sum = (field: "committed" | "end" | "lag") =>
      before.offsets.reduce((all, offset) => all + offset[field], 0);
    expect([sum("committed"), sum("end"), sum("lag")]).toEqual([30, 250, 220]);
    for (const { lag, lagSeconds } of before.offsets) {
      expect(typeof lagSeconds).toBe("number");
      expect((lagSeconds as number) > 0).toBe(lag > 0);
    }
    expect(Object.keys(before.offsets[0])).toEqual([
      "topic",
      "partition",
      "committed",
      "end",
      "lag",
      "lagSeconds",
    ]);
    const shown = await groups("describe", "fares");
    expect(shown.stdout).toMatch(/^GROUP +STATE +PROTOCOL\nfares +Empty +consumer\n/);
    expect(shown.stdout).toMatch(/\ntrips +1 +\d+ +100 +\d+ +\d+\.\d +-\n/);

    const reset = async (...args: string[]): Promise<(number | null)[][]> => {
      const { stdout, stderr } = await groups("reset", "fares", ...args, "--json");
      if (stdout === "") throw new Error(stderr);
      const { offsets } = JSON.parse(stdout);
      return offsets.map((o: { from: number; to: number }) => [o.from, o.to]);
    };
    const zero = ["--topic", "trips", "--partition", "0"];
    await reset("--to", "latest");
    expect(await reset("--to", "earliest", "--dry-run", ...zero)).toEqual([[150, 0]]);
    expect(await reset("--to", "-20", ...zero)).toEqual([[150, 130]]);
    expect(await reset("--to", "+5", ...zero)).toEqual([[130, 135]]);
    expect(await reset("--to", `@${between}`, ...zero)).toEqual([[135, 100]]);
    expect(await reset("--to", "@2036-01-01", ...zero)).toEqual([[100, 150]]);
    expect(await reset("--to", "7", ...zero)).toEqual([[150, 7]]);
    // what is not there gives way to the nearest that is
    expect(await reset("--to", "9999", ...zero)).toEqual([[7, 150]]);
    const table = await groups("reset", "fares", "--to", "earliest");
    expect(table.stdout).toMatch(/^TOPIC +PARTITION +OLD +NEW\ntrips +0 +150 +0\n/);
    expect((await standing("fares")).offsets.every(({ committed }) => committed === 0)).toBe(true);

    const named = await groups("reset", "new one", "--to", "5", "--topic", "trips", "--json");
    expect(JSON.parse(named.stdout).offsets.slice(0, 2)).toEqual([
      { topic: "trips", partition: 0, from: null, to: 5 },
      { topic: "trips", partition: 1, from: null, to: 5 },
    ]);
    const listed = JSON.parse((await groups("list", "--json")).stdout);
    expect(listed.groups.map((g: { group: string }) => g.group)).toEqual(["fares", "new one"]);
    expect((await groups("delete", "new one", "--yes")).stderr).toBe("deleted new one\n");
    expect((await groups("list")).stdout).toMatch(/^GROUP +STATE +MEMBERS +PROTOCOL\nfares .*\n$/);
    const gone = await groups("describe", "new one");
    expect([gone.code, gone.stderr]).toEqual([1, "milepost: no such group: new one\n"]);
  },
  2 * slow,
);

test(
  "members share a topic; one that leaves hands over at once, one that is killed in time",
  async () => {
    for (const p of [0, 1, 2, 3]) await topics.write("shared", numbers(p * 1000, p * 1000 + 50), p);
    const one = member("shared", "crew");
    await one.until((lines) => lines.length === 200);
    expect(await settled("crew", 1)).toEqual([4]);
    const two = member("shared", "crew");
    expect(await settled("crew", 2)).toEqual([2, 2]);
    const { members, offsets } = await standing("crew");
    expect(members.flatMap(({ assignment }) => assignment).toSorted()).toEqual(
      [0, 1, 2, 3].map((p) => ["shared", p]),
    );
    expect(members[0]).toMatchObject({ clientId: "milepost-cli", host: expect.any(String) });
    // who goes on begins where the other had come to
    expect(offsets.map(({ committed, lag, lagSeconds }) => [committed, lag, lagSeconds])).toEqual(
      [0, 1, 2, 3].map(() => [50, 0, 0]),
    );
    const refused = await groups("reset", "crew", "--to", "earliest");
    expect([refused.code, refused.stderr]).toEqual([
      1,
      "milepost: the group has members: crew: stop them first\n",
    ]);
    expect((await groups("delete", "crew", "--yes")).stderr).toContain("the group has members");

    for (const p of [0, 1, 2, 3])
      await topics.write("shared", numbers(p * 1000 + 50, p * 1000 + 90), p);
    await two.until((lines) => lines.length === 80);
    expect(await two.end("SIGINT")).toMatchObject({ code: 0, stderr: "" });
    expect(await settled("crew", 1)).toEqual([4]);

    const three = member("shared", "crew");
    expect(await settled("crew", 2)).toEqual([2, 2]);
    for (const p of [0, 1, 2, 3])
      await topics.write("shared", numbers(p * 1000 + 90, p * 1000 + 95), p);
    await three.until((lines) => lines.length === 10);
    await three.end("SIGKILL");
    expect(await settled("crew", 1)).toEqual([4]);
    for (const p of [0, 1, 2, 3]) await topics.write("shared", [`last of ${p}`], p);
    await one.until((lines) => lines.filter((line) => line.startsWith("last")).length === 4);
    expect((await one.end("SIGINT")).code).toBe(0);
    const all = [...one.lines, ...two.lines, ...three.lines];
    // what a killed member had not yet committed comes again; nothing is missing
    expect(new Set(all).size).toBe(4 * 96);
    expect(all.length - 4 * 96).toBeLessThanOrEqual(10);
    const after = await standing("crew");
    expect(after.state).toBe("Empty");
    expect(after.offsets.map(({ committed }) => committed)).toEqual([96, 96, 96, 96]);
  },
  2 * slow,
);

test(
  "a group goes on where it was, also where nothing had come yet, and after a crash",
  async () => {
    await topics.write("events2", numbers(0, 10), 0);
    const from = ["--from", "latest"];
    const one = member("events2", "notes/ü %", ...from);
    for (let n = 0; one.lines.length === 0; n++) await topics.write("events2", [`live ${n}`], 0);
    expect((await one.end("SIGINT")).code).toBe(0);
    await gateway.kill();
    await gateway.start();
    // partition 1 had nothing to commit; what came while nobody was there is read all the same
    await topics.write("events2", ["missed"], 1);
    const two = await member("events2", "notes/ü %", ...from, "-e").outcome;
    expect([two.code, two.stdout.split("\n")]).toEqual([0, expect.arrayContaining(["missed"])]);
    expect(one.lines.some((line) => two.stdout.includes(line))).toBe(false);
    expect((await standing("notes/ü %")).offsets.map(({ lag }) => lag)).toEqual([0, 0, 0, 0]);
  },
  2 * slow,
);

test(
  "members go on when the gateway is killed and comes back",
  async () => {
    await topics.write("lasting", numbers(0, 100), 0);
    const [one, two] = [member("lasting", "loyal"), member("lasting", "loyal")];
    await settled("loyal", 2);
    while (one.lines.length + two.lines.length < 100) await new Promise((r) => setTimeout(r, 50));
    await gateway.kill();
    await gateway.start();
    await topics.write("lasting", numbers(100, 200), 0);
    await topics.write("lasting", numbers(200, 300), 1);
    const all = () => new Set([...one.lines, ...two.lines]);
    while (all().size < 300) await new Promise((r) => setTimeout(r, 50));
    expect((await one.end("SIGINT")).code).toBe(0);
    expect((await two.end("SIGINT")).code).toBe(0);
    expect((await standing("loyal")).offsets.map(({ lag }) => lag)).toEqual([0, 0, 0, 0]);
  },
  2 * slow,
);
