import fc from "fast-check";
import { expect, test } from "vitest";
import { Message, Outbox } from "../../devices/outbox.ts";

function message(seq: number): Message {
  return new Message(Buffer.from("x"), seq, [seq], 0);
}

function send(outbox: Outbox): number {
  const next = outbox.peek()!;
  next.sends++;
  next.packetId ||= next.firstSeq;
  outbox.departed();
  return next.firstSeq;
}

test("after a reconnect what was in flight goes first, in its order", () => {
  const outbox = new Outbox("d", 100);
  for (let seq = 1; seq <= 5; seq++) outbox.push(message(seq));
  expect([send(outbox), send(outbox), send(outbox)]).toEqual([1, 2, 3]);
  expect(outbox.settle(2)!.firstSeq).toBe(2);
  expect(outbox.settle(4)).toBeUndefined();
  outbox.rewind();
  expect([outbox.inFlight, outbox.bytesInFlight]).toEqual([0, 0]);
  expect([1, 2, 3, 4].map(() => send(outbox))).toEqual([1, 3, 4, 5]);
  expect(outbox.peek()).toBeUndefined();
});

test("a full box gives up the oldest never sent, and never one that was", () => {
  const outbox = new Outbox("d", 3);
  for (let seq = 1; seq <= 3; seq++) outbox.push(message(seq));
  send(outbox);
  expect(outbox.push(message(4))!.firstSeq).toBe(2);
  send(outbox);
  send(outbox);
  expect(outbox.push(message(5))!.firstSeq).toBe(5);
  expect([outbox.length, outbox.inFlight]).toEqual([3, 3]);
});

test("order is kept and nothing sent is lost, whatever happens", () => {
  const step = fc.constantFrom("push", "send", "ack", "rewind");
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const outbox = new Outbox("d", 8);
      const sent = new Set<number>();
      const acked: number[] = [];
      let seq = 0;
      for (const what of steps) {
        if (what === "push") outbox.push(message(++seq));
        else if (what === "send" && outbox.peek() !== undefined) sent.add(send(outbox));
        else if (what === "ack") acked.push(outbox.settleOldest()?.firstSeq ?? 0);
        else if (what === "rewind") outbox.rewind();
      }
      outbox.rewind();
      while (outbox.peek() !== undefined) {
        sent.add(send(outbox));
        acked.push(outbox.settleOldest()!.firstSeq);
      }
      const answered = acked.filter((n) => n > 0);
      expect(answered).toEqual([...sent].toSorted((a, b) => a - b));
    }),
  );
});
