import { expect, test } from "vitest";
import { DriverTable } from "../../src/live/drivers.ts";
import { FeatureWriter } from "../../src/riders/features.ts";
import { readPing } from "../live/fixture.ts";

test("a ping that is longer as we write it than as it was sent comes whole", () => {
  // four bytes each as sent, 16 as JSON.stringify has them
  const many = Array.from({ length: 1600 }, () => "9e15").join(",");
  const value = `{"id":"a","ts":1760000000000,"lat":1,"lon":2,"many":[${many}]}`;
  const ping = readPing("a", value, 1);
  if (ping === null) throw new Error("no ping");
  const drivers = new DriverTable();
  const row = drivers.add(ping.key, ping.keyStart, ping.keyEnd);
  drivers.keep(row, ping, 0);
  const { properties } = JSON.parse(Buffer.from(new FeatureWriter(drivers).one(row)).toString());
  expect(properties.many).toEqual(Array.from({ length: 1600 }, () => 9e15));
});
