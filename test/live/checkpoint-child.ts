/** Saves a checkpoint over and over until it is killed; says when the first is there. */
import { Checkpoint } from "../../src/live/checkpoint.ts";
import { DriverIndex } from "../../src/live/driver-index.ts";
import { DriverTable } from "../../src/live/drivers.ts";
import { bytesOf, livePing } from "./fixture.ts";

const drivers = new DriverTable();
for (let i = 0; i < 6000; i++) {
  const id = `driver-${i}`;
  const key = bytesOf(id);
  const row = drivers.add(key, 0, key.byteLength);
  drivers.keep(row, livePing({ id, ts: i, lat: 1, lon: 2, speed: i }, i, i), 0);
}
const tracker = { trackedTo: { topicId: "one", applied: [0] } };
const checkpoint = new Checkpoint({
  path: process.argv[2],
  drivers,
  index: new DriverIndex(drivers),
  tracker,
  report: (line) => process.stderr.write(`${line}\n`),
});
for (let n = 1; ; n++) {
  tracker.trackedTo = { topicId: "one", applied: [n] };
  await checkpoint.save();
  if (n === 1) process.send?.("saved");
}
