/**
 * Fare per trip: adds up the way of every trip, and writes its fare to topic `fares` when it is
 * over.
 *
 * A trip lasts minutes, and a restart must not forget what was driven before it. So the group
 * commits no further than where its oldest open trip began: the next start counts those trips again
 * from their first ping. A fare may then be written twice, under the same key and with the same
 * amount, which the compacted topic makes one.
 */
import { ensureTopics, read, writer } from "./service.ts";

type Ping = { id: string; ts: number; lat: number; lon: number; trip?: string };
type Place = { lat: number; lon: number };
type Trip = {
  trip: string;
  driver: string;
  firstOffset: bigint;
  startedMs: number;
  endedMs: number;
  metres: number;
  /** Up to where the metres are counted. */
  place: Place;
};

const [base, perKm, perMinute] = [40, 16, 1.5];
/** A phone's position wanders by some metres while the car stands. */
const stepMetres = 30;
/** A driver of whom nothing is heard for so long has arrived. */
const silentMsMax = 10 * 60_000;

/** Open trips of each partition, by driver; who was heard of last stands last. */
const open = new Map<number, Map<string, Trip>>();

await ensureTopics(["fares"], true);
const fares = writer("fare");
const pings = read<Ping>("fare", "positions", {
  neededFrom: (partition) => oldest(open.get(partition)),
  lost: (partition) => open.delete(partition),
});
for await (const { partition, offset, value: ping } of pings) {
  const trips = open.get(partition) ?? new Map<string, Trip>();
  open.set(partition, trips);
  for (const trip of trips.values()) {
    if (ping.ts - trip.endedMs < silentMsMax) break;
    await finish(trips, trip);
  }
  const before = trips.get(ping.id);
  if (before !== undefined && before.trip !== ping.trip) await finish(trips, before);
  if (ping.trip !== undefined) drive(trips, ping, offset);
}
await fares.close();

function drive(trips: Map<string, Trip>, ping: Ping, offset: bigint): void {
  const { id: driver, trip, ts, lat, lon } = ping;
  const place = { lat, lon };
  const begun = { trip: trip!, driver, firstOffset: offset, startedMs: ts, metres: 0, place };
  const now: Trip = { ...begun, ...trips.get(driver), endedMs: ts };
  trips.delete(driver);
  trips.set(driver, now);
  const step = distance(now.place, place);
  if (step < stepMetres) return;
  const kmBefore = Math.floor(now.metres / 1000);
  now.metres += step;
  now.place = place;
  if (Math.floor(now.metres / 1000) > kmBefore) show(now, "so far");
}

async function finish(trips: Map<string, Trip>, trip: Trip): Promise<void> {
  trips.delete(trip.driver);
  const { trip: key, driver, startedMs, endedMs } = trip;
  const metres = Math.round(trip.metres);
  const value = { trip: key, driver, startedMs, endedMs, metres, fare: fareOf(trip) };
  await fares.send({ messages: [{ topic: "fares", key, value }] });
  show(trip, "in all");
}

function fareOf({ metres, startedMs, endedMs }: Trip): number {
  return Math.round(base + (perKm * metres) / 1000 + (perMinute * (endedMs - startedMs)) / 60_000);
}

function show(trip: Trip, what: string): void {
  console.log(`${trip.trip}  ${(trip.metres / 1000).toFixed(1)} km  ₹${fareOf(trip)} ${what}`);
}

function oldest(trips: Map<string, Trip> = new Map()): bigint | undefined {
  const offsets = [...trips.values()].map(({ firstOffset }) => firstOffset);
  return offsets.reduce<bigint | undefined>(
    (a, b) => (a === undefined || b < a ? b : a),
    undefined,
  );
}

/** Metres between two places that are near each other. */
function distance(a: Place, b: Place): number {
  const east = (b.lon - a.lon) * Math.cos((a.lat * Math.PI) / 180);
  return Math.hypot(b.lat - a.lat, east) * 111_195;
}
