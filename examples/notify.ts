/**
 * Notifications: tells riders what happens on their trip, from topic `events`. A notification that
 * was sent just before a crash is sent again; one is never left out.
 */
import { read } from "./service.ts";

type Event = { type?: string; trip?: string; driver?: string };

/** Later than this it is no news. */
const lateMs = 10 * 60_000;

const texts: Record<string, string> = {
  pickup: "your driver is there, the ride begins",
  dropoff: "you have arrived, thank you for riding",
};

for await (const { key: driver, value: event, timestamp } of read<Event>("notify", "events")) {
  const text = texts[event.type ?? ""];
  if (text === undefined || Date.now() - timestamp > lateMs) continue;
  const at = new Date(timestamp).toISOString().slice(11, 19);
  // here a service would call its push provider, and wait for the answer
  console.log(`${at}  to the rider of ${event.trip ?? "a trip"} with ${driver}: ${text}`);
}
