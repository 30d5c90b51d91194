/**
 * Riders come, go, lose their connections and come back, at random, while drivers send: whatever
 * happened, each saw each ping of its driver once, in order. A seed that fails can be run again.
 */
import type { Centrifuge } from "centrifuge";
import type { WebSocket } from "ws";
import { expect, test } from "vitest";
import { startGateway, type Gateway } from "../harness/gateway.ts";
import { centrifuge, Following, ping, until } from "./rider.ts";

const seeds = process.env.SEED === undefined ? [1, 2, 3] : [Number(process.env.SEED)];
const DRIVERS = 6;
const RIDERS = 8;
const STEPS = 120;

type Rider = { client: Centrifuge; following: Following; sockets: WebSocket[] };

function riderOf(gateway: Gateway, driver: number): Rider {
  const sockets: WebSocket[] = [];
  const client = centrifuge(gateway, (socket) => sockets.push(socket));
  return { client, following: new Following(client, `driver:w${driver}`), sockets };
}

test.each(seeds)(
  "seed %i",
  async (seed) => {
    const random = randomOf(seed);
    const below = (n: number): number => Math.floor(random() * n);
    const gateway = await startGateway();
    const sent = Array.from({ length: DRIVERS }, () => 0);
    const old = new Set<string>();
    const riders: Rider[] = [];
    for (let i = 0; i < RIDERS; i++) riders.push(riderOf(gateway, i % DRIVERS));
    for (let step = 0; step < STEPS; step++) {
      const fixes = Array.from({ length: 1 + below(20) }, () => {
        const driver = below(DRIVERS);
        // one fix in four is older than those before it
        const isOld = below(4) === 0;
        const seq = ++sent[driver];
        if (isOld) old.add(`w${driver} ${seq}`);
        return { id: `w${driver}`, seq, ts: Date.now() - (isOld ? 60_000 : 0) };
      });
      const sending = ping(gateway, ...fixes);
      for (let moves = below(4); moves > 0; moves--) {
        const { client, following, sockets } = riders[below(RIDERS)];
        const move = below(5);
        if (move === 0) client.disconnect();
        else if (move === 1) following.subscription.unsubscribe();
        else if (move === 2) sockets.at(-1)?.terminate();
        else {
          client.connect();
          following.subscription.subscribe();
        }
      }
      if (below(2) === 0) await sending;
      else await Promise.all([sending, new Promise((resolve) => setTimeout(resolve, below(30)))]);
      if (step === STEPS / 2) {
        await gateway.end(seed % 2 === 0 ? "SIGTERM" : "SIGKILL");
        await gateway.start();
      }
    }
    for (const { client, following } of riders) {
      client.connect();
      following.subscription.subscribe();
    }
    const last = sent.map((seq, driver) => ({ id: `w${driver}`, seq: seq + 1 }));
    await Promise.all(riders.map(({ following }) => following.ready()));
    await ping(gateway, ...last);
    await until(() => {
      return riders.every(({ following }, i) => following.seqs.at(-1) === last[i % DRIVERS].seq);
    });
    for (const { following } of riders) {
      const [, ...again] = following.recoveries;
      expect(again.every(({ recovered }) => recovered)).toBe(true);
      // the newest fix comes first, and may be older in the log than what was late before it
      const [first, ...rest] = following.seqs;
      const expected = Array.from({ length: rest.length }, (_, i) => rest[0] + i);
      expect(rest, `seed ${seed}`).toEqual(expected);
      const { id } = following.data[0];
      for (let seq = first + 1; seq < rest[0]; seq++) expect(old.has(`${id} ${seq}`)).toBe(true);
      const offsets = following.offsets;
      expect(offsets.every((offset, i) => i === 0 || offset > offsets[i - 1])).toBe(true);
    }
    for (const { client } of riders) client.disconnect();
    await gateway.stop();
  },
  60_000,
);

/** mulberry32 */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
