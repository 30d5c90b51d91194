import fc from "fast-check";
import { expect, test } from "vitest";
import { Incoming } from "../../src/kafka/incoming.ts";
import { limits } from "../../src/model/limits.ts";

/** Cost of a request besides its bytes, and of one that has just begun to come. */
const EACH = 200;
const LEAST = 1024;

function framed(body: Uint8Array): Buffer {
  const size = Buffer.alloc(4);
  size.writeInt32BE(body.length);
  return Buffer.concat([size, body]);
}

const bodies = fc.array(
  fc.oneof(
    fc.uint8Array({ minLength: 8, maxLength: 40 }),
    fc.integer({ min: 8, max: 100_000 }).map((n) => new Uint8Array(n).fill(n)),
  ),
  { maxLength: 6 },
);

test("requests come out as they went in, however they are cut", () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 30_000 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(bodies, cuts, (sent, sizes) => {
      const stream = Buffer.concat(sent.map(framed));
      const incoming = new Incoming();
      const got: Buffer[] = [];
      const buffer = Buffer.alloc(30_000);
      let taken = 0;
      for (let at = 0, i = 0; at < stream.length; i++) {
        const end = Math.min(stream.length, at + sizes[i % sizes.length]);
        stream.copy(buffer, 0, at, end);
        incoming.take(buffer, end - at, 7);
        buffer.fill(0xff);
        at = end;
        // memory grows with what came, not with what was announced
        const bound = 2 * (at - taken) + EACH * (incoming.ready.length + 1) + LEAST;
        expect(incoming.held).toBeLessThanOrEqual(bound);
        while (i % 2 === 0 && incoming.ready.length > 0) {
          const frame = incoming.shift();
          taken += frame.length + 4;
          got.push(frame);
        }
      }
      while (incoming.ready.length > 0) got.push(incoming.shift());
      expect(got.map((b) => b.toString("hex"))).toEqual(
        sent.map((b) => Buffer.from(b).toString("hex")),
      );
      expect([incoming.held, incoming.arriving, incoming.broken]).toEqual([0, false, null]);
    }),
    { numRuns: 60 },
  );
});

test("what has come of a large request is copied a few times, not once for each piece", () => {
  const size = 8 * 1024 * 1024;
  const incoming = new Incoming();
  const piece = Buffer.alloc(64);
  piece.writeInt32BE(size);
  incoming.take(piece, 4, 0);
  let grown = 0;
  for (let held = incoming.held, sent = 0; sent < size; sent += piece.length) {
    incoming.take(piece, piece.length, 0);
    if (incoming.held > held) grown++;
    held = incoming.held;
  }
  expect(incoming.ready.map((frame) => frame.length)).toEqual([size]);
  expect(grown).toBeLessThan(20);
});

test.each([
  ["nothing", [0, 0, 0, 0]],
  ["less than a header", [0, 0, 0, 7]],
  ["-1", [0xff, 0xff, 0xff, 0xff]],
  ["the least number", [0x80, 0, 0, 0]],
  ["one more than allowed", [2, 0, 0, 1]],
  ["the largest number", [0x7f, 0xff, 0xff, 0xff]],
])("a size of %s costs nothing and ends the reading", (_, size) => {
  expect(limits.kafkaRequestBytesMax).toBe(0x02000000);
  const incoming = new Incoming();
  const request = framed(Buffer.alloc(20));
  incoming.take(Buffer.concat([request, Buffer.from(size), request]), 2 * request.length + 4, 0);
  expect(incoming.broken).toMatch(/^a request of -?\d+ bytes$/);
  expect(incoming.ready).toHaveLength(1);
  expect(incoming.shift()).toHaveLength(20);
  expect(incoming.held).toBe(0);
});

test("another protocol is called by its name", () => {
  const start = (bytes: Buffer): string | null => {
    const incoming = new Incoming();
    incoming.take(bytes, bytes.length, 0);
    return incoming.broken;
  };
  expect(start(Buffer.from("GET / HTTP/1.1\r\n"))).toContain('"GET "');
  expect(start(Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]))).toContain("TLS");
});
