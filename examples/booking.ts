/**
 * The first of a chain: booking → lab → data. People book tests of a laboratory on wheels; each
 * booking is a record of topic `bookings`. Ends at Ctrl-C, or after BOOKINGS of them.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { ensureTopics, writer } from "./service.ts";

const tests = ["glucose", "lipids", "thyroid", "iron"];
const everyMs = 500;
const count = Number(process.env["BOOKINGS"] ?? Infinity);

let stopped = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => (stopped = true));

await ensureTopics(["bookings", "lab-results"]);
const bookings = writer("booking");
// this run's bookings have names of their own
const run = Date.now().toString(36);
for (let n = 1; n <= count && !stopped; n++) {
  const booking = `${run}-${n}`;
  const test = tests[n % tests.length];
  const value = { booking, test, patient: `patient ${(n * 7) % 100}`, at: Date.now() };
  await bookings.send({ messages: [{ topic: "bookings", key: booking, value }] });
  console.log(`${booking}  ${test} for ${value.patient}`);
  if (count === Infinity) await sleep(everyMs);
}
await bookings.close();
