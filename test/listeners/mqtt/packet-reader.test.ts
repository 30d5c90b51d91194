import { expect, test } from "vitest";
import { PacketReader } from "../../../src/listeners/mqtt/packet-reader.ts";
import { limits } from "../../../src/model/limits.ts";
import { PINGREQ } from "./bytes.ts";

test("what waits is kept whole, also when a mebibyte comes byte by byte", () => {
  let packets = 0;
  const sink = {
    packet: () => void packets++,
    allows: () => true,
    packetBytesMax: limits.packetBytesMax,
    isClosed: false,
    close: (reason: string) => expect.fail(reason),
    pause: () => {},
  };
  const reader = new PacketReader(sink);
  reader.block();
  for (let i = 0; i < limits.wsUnansweredBytesMax; i += PINGREQ.length) {
    // copying all of them for each one was a minute of a worker
    reader.read(PINGREQ.subarray(0, 1), 1);
    reader.read(PINGREQ.subarray(1), 1);
  }
  expect(packets).toBe(0);
  expect(reader.unblock()).toBe(true);
  expect(packets).toBe(limits.wsUnansweredBytesMax / PINGREQ.length);
});
