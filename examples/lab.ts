/**
 * The second of the chain booking → lab → data: takes a booking, measures, writes the result to
 * `lab-results` under the booking's key. A booking counts as done when its result is in the log; a
 * crash in between measures it again, and `data.ts` keeps one result a booking.
 */
import { ensureTopics, read, writer } from "./service.ts";

type Booking = { booking: string; test: string; patient: string };

/** What is normal, in the test's own unit. */
const normal: Record<string, [low: number, high: number]> = {
  glucose: [70, 100],
  lipids: [125, 200],
  thyroid: [0.4, 4],
  iron: [60, 170],
};

await ensureTopics(["bookings", "lab-results"]);
const results = writer("lab");
for await (const {
  value: { booking, test, patient },
} of read<Booking>("lab", "bookings")) {
  const [low, high] = normal[test] ?? [0, 1];
  const measured = low + (high - low) * (Math.random() * 1.4 - 0.2);
  const verdict = measured < low ? "low" : measured > high ? "high" : "normal";
  const value = { booking, test, patient, measured: Number(measured.toFixed(1)), verdict };
  await results.send({ messages: [{ topic: "lab-results", key: booking, value }] });
  console.log(`${booking}  ${test} ${value.measured} ${verdict}`);
}
await results.close();
