import { latLngToCell } from "h3-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { EventReader, type ServerEvent } from "./event-source.ts";
import { get, type Ping, post, send, urlOf } from "./fleet.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway({ args: ["--allow-origin", "https://app.example"] });
});
afterAll(async () => {
  await gateway?.stop();
});

const now = Date.now();
let clock = now - 3_000_000;
const ping = (id: string, more: Partial<Ping> = {}): Ping => {
  return { id, ts: clock++, lat: 10, lon: 20, ...more };
};
const follow = (channel: string, more = "", headers = {}): Promise<EventReader> => {
  const query = `channel=${encodeURIComponent(channel)}${more}`;
  return EventReader.open(urlOf(gateway, `/v1/stream?${query}`), headers);
};
const seqs = (events: ServerEvent[]): unknown[] => events.map(({ data }) => data.seq);
const offsetOf = ({ id }: ServerEvent): number => Number(id.split(":")[1]);

describe("a driver's stream", () => {
  it("begins with the newest and goes on without a gap", async () => {
    await send(gateway, [ping("a", { seq: 1 }), ping("a", { seq: 2 })]);
    const reader = await follow("driver:a");
    expect(reader.response.headers["content-type"]).toBe("text/event-stream");
    await reader.first(1);
    await send(gateway, [ping("a", { seq: 3 }), ping("b"), ping("a", { seq: 4 })]);
    const late = ping("a", { seq: 5, ts: now - 3_500_000 });
    await send(gateway, [late]);
    const events = await reader.first(4);
    reader.close();
    expect(events.map(({ event }) => event)).toEqual(["snapshot", ...Array(3).fill("position")]);
    expect(seqs(events)).toEqual([2, 3, 4, 5]);
    expect(events[3].data).toEqual({ ...late, received: events[3].data.received, late: true });
    expect(events[3].data.received).toBeGreaterThanOrEqual(now);
    const offsets = events.map(offsetOf);
    expect(offsets).toEqual([...new Set(offsets)].sort((a, b) => a - b));
  });

  it("of one never seen begins with its first ping", async () => {
    const reader = await follow("driver:fresh");
    await reader.until(() => reader.lastEventId !== "");
    await send(gateway, [ping("fresh", { seq: 1 })]);
    expect(await reader.first(1)).toMatchObject([{ event: "position", data: { seq: 1 } }]);
    reader.close();
  });

  it("resumes behind Last-Event-ID, also after a kill, and never repeats", async () => {
    await send(gateway, [ping("r", { seq: 1 })]);
    const first = await follow("driver:r");
    await first.first(1);
    first.close();
    await send(gateway, [ping("r", { seq: 2 }), ping("r", { seq: 3 })]);
    const second = await follow("driver:r", "", { "Last-Event-ID": first.lastEventId });
    const missed = await second.first(2);
    expect(missed.map(({ event }) => event)).toEqual(["position", "position"]);
    expect(seqs(missed)).toEqual([2, 3]);
    await send(gateway, [ping("r", { seq: 4 })]);
    await second.first(3);
    await gateway.kill();
    await second.closed();
    await gateway.start();
    await send(gateway, [ping("r", { seq: 5 }), ping("r", { seq: 6 })]);
    const id = encodeURIComponent(second.lastEventId);
    const third = await follow("driver:r", `&lastEventId=${id}`);
    expect(seqs(await third.first(2))).toEqual([5, 6]);
    // it has everything: nothing is told until there is news
    const fourth = await follow("driver:r", "", { "Last-Event-ID": third.lastEventId });
    await fourth.until(() => fourth.lastEventId !== "");
    await send(gateway, [ping("r", { seq: 7 })]);
    expect(seqs(await fourth.first(1))).toEqual([7]);
    third.close();
    fourth.close();
  });

  it("begins anew where an id means nothing here", async () => {
    await send(gateway, [ping("n", { seq: 1 })]);
    for (const id of ["0.ffffffff:3", "nonsense", "a:b:c", ":", `${"9".repeat(400)}:1`, "1.x:-5"]) {
      const reader = await follow("driver:n", "", { "Last-Event-ID": id });
      expect(await reader.first(1)).toMatchObject([{ event: "snapshot", data: { seq: 1 } }]);
      reader.close();
    }
  });

  it("gives the newest at most so often with interval", async () => {
    await send(gateway, [ping("i", { seq: 0 })]);
    const reader = await follow("driver:i", "&interval=300000");
    await reader.first(1);
    for (let seq = 1; seq <= 5; seq++) await send(gateway, [ping("i", { seq })]);
    const other = await follow("driver:i");
    expect(seqs(await other.first(1))).toEqual([5]);
    expect(reader.events).toHaveLength(1);
    reader.close();
    other.close();
  });
});

describe("an area's stream", () => {
  it.each(["cell", "bbox"])("of a %s: who is there, who moves, who leaves", async (kind) => {
    const lat = kind === "cell" ? -33.5 : -43.5;
    const at = { lat, lon: 70 };
    const channel =
      kind === "cell"
        ? `cell:${latLngToCell(lat, 70, 7)}`
        : `bbox:69.99,${lat - 0.01},70.01,-43.49`;
    await send(gateway, [ping(`${kind}1`, at), ping(`${kind}2`, at)]);
    const reader = await follow(channel);
    const there = await reader.first(2);
    expect(there.map(({ event, data }) => [event, data.id]).sort()).toEqual([
      ["snapshot", `${kind}1`],
      ["snapshot", `${kind}2`],
    ]);
    await send(gateway, [ping(`${kind}1`, { ...at, speed: 3 }), ping(`${kind}2`, { lat: 0 })]);
    const events = (await reader.first(4)).slice(2);
    expect(events).toContainEqual({
      event: "gone",
      id: "",
      data: { id: `${kind}2`, gone: "left" },
    });
    const moved = events.find(({ event }) => event === "position");
    expect(moved?.data).toMatchObject({ id: `${kind}1`, speed: 3 });
    reader.close();
  });
});

describe("what is no stream", () => {
  it.each([
    ["", 400, "bad_parameter"],
    ["channel=", 404, "unknown_channel"],
    ["channel=news", 404, "unknown_channel"],
    ["channel=news:1", 404, "unknown_channel"],
    ["channel=__proto__:1", 404, "unknown_channel"],
    ["channel=driver:", 400, "bad_channel"],
    ["channel=driver:a/b", 400, "bad_channel"],
    ["channel=driver:%00", 400, "bad_channel"],
    [`channel=driver:${"x".repeat(200)}`, 400, "bad_channel"],
    ["channel=cell:8928308280fffff0", 400, "bad_channel"],
    ["channel=cell:8029fffffffffff", 400, "bad_channel"],
    ["channel=bbox:1,2,3", 400, "bad_channel"],
    ["channel=bbox:1,2,1,2", 400, "bad_channel"],
    ["channel=driver:a&interval=-1", 400, "bad_parameter"],
    ["channel=driver:a&interval=fast", 400, "bad_parameter"],
    ["channel=driver:a&recovery=all", 400, "bad_parameter"],
    ["channel=driver:a&chanel=b", 400, "bad_parameter"],
  ])("?%s: %i %s", async (query, status, code) => {
    const answer = await get(gateway, `/v1/stream?${query}`);
    expect([answer.status, answer.body.error.code]).toEqual([status, code]);
  });

  it.each([
    ["cell:8a60145b7ffffff", "cell:H3 of resolution 4 to 9, in lower case"],
    ["bbox:77,12,78", "bbox:WEST,SOUTH,EAST,NORTH in degrees"],
    ["driver:", "driver:ID"],
  ])("%s: the error says what it should have been", async (channel, form) => {
    const answer = await get(gateway, `/v1/stream?channel=${channel}`);
    expect(answer.body.error.message).toBe(`"${channel}" is not ${form}`);
  });

  it("pages of other origins get none", async () => {
    const answer = await get(gateway, "/v1/stream?channel=driver:a", { origin: "https://evil.ex" });
    expect([answer.status, answer.body.error.code]).toEqual([403, "foreign_origin"]);
    const reader = await follow("driver:a", "", { origin: "https://app.example" });
    expect(reader.response.headers["access-control-allow-origin"]).toBe("https://app.example");
    reader.close();
  });
});

describe("pressure", () => {
  it("a reader that pauses gets the newest of each driver, and holds nothing up", async () => {
    const note = "x".repeat(7000);
    const round = (seq: number): Ping[] =>
      Array.from({ length: 30 }, (_, i) => ping(`s${i}`, { lat: 60, lon: 60, seq, note }));
    await send(gateway, round(0));
    const box = "bbox:59,59,61,61";
    const slow = await follow(box);
    await slow.first(30);
    slow.response.pause();
    const brisk = await follow(box);
    await brisk.first(30);
    const rounds = 200;
    const before = await gateway.metric("process_resident_memory_bytes");
    // 42 MB for each: far more than two sockets hold
    for (let seq = 1; seq <= rounds; seq++) {
      await post(gateway, round(seq));
      await brisk.until(() => brisk.events.length >= 30 * (seq + 1));
    }
    const held = (await gateway.metric("process_resident_memory_bytes")) - before;
    expect(held).toBeLessThan(48 * 1024 * 1024);
    expect(await gateway.metric("milepost_stream_conflated_total")).toBeGreaterThan(0);
    slow.response.resume();
    const newest = new Map<string, number>();
    const isDone = (): boolean => {
      for (const { data } of slow.events) newest.set(data.id, data.seq);
      return [...newest.values()].every((seq) => seq === rounds);
    };
    await slow.until(isDone);
    expect(slow.events.length).toBeLessThan(30 * rounds);
    // of each driver positions only go forward
    const last = new Map<string, number>();
    for (const { data } of slow.events) {
      expect(data.seq).toBeGreaterThanOrEqual(last.get(data.id) ?? 0);
      last.set(data.id, data.seq);
    }
    slow.close();
    brisk.close();
  });

  it("counts its clients, and forgets those who go", async () => {
    const clients = (): Promise<number> =>
      gateway.metric("milepost_stream_clients", 'transport="sse"');
    while ((await clients()) > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const readers = await Promise.all(Array.from({ length: 50 }, () => follow("driver:a")));
    await Promise.all(readers.map((reader) => reader.first(1)));
    expect(await clients()).toBe(50);
    for (const reader of readers) reader.close();
    while ((await clients()) > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  });
});

it("a stop ends streams, and they can be resumed", async () => {
  const own = await startGateway();
  await send(own, [ping("d", { seq: 1 })]);
  const reader = await EventReader.open(urlOf(own, "/v1/stream?channel=driver:d"));
  await reader.first(1);
  const stopped = own.stop();
  await reader.closed();
  expect(await stopped).toBe(0);
});
