import { describe, expect, test } from "vitest";
import {
  decode,
  encodeGroup,
  encodeGroupKey,
  encodeOffset,
  encodeOffsetKey,
} from "../../src/groups/records.ts";
import { Malformed } from "../../src/wire/reader.ts";

/** Rows of bytes, each with what it stands for, in Kafka's own form. */
const bytes = (...rows: [hex: string, what: string][]): string =>
  rows.map(([hex]) => hex.replaceAll(" ", "")).join("");
const hex = (b: Uint8Array): string => Buffer.from(b).toString("hex");
const from = (text: string): Uint8Array => Buffer.from(text, "hex");

const offsetKey = bytes(
  ["0001", "key of a committed offset"],
  ["0002 6731", "group g1"],
  ["0001 74", "topic t"],
  ["00000005", "partition"],
);
const groupKey = bytes(["0002", "key of a group"], ["0002 6731", "group g1"]);

const committed = {
  offset: 258,
  leaderEpoch: 3,
  metadata: "m",
  committedMs: 0x1_0000_0001,
  expiresMs: null,
};

const group = {
  sinceMs: 9,
  snapshot: {
    protocolType: "consumer",
    generation: 4,
    protocol: "range",
    leader: "m-1",
    members: [
      {
        memberId: "m-1",
        groupInstanceId: null,
        clientId: "c",
        clientHost: "h",
        rebalanceTimeoutMs: 2000,
        sessionTimeoutMs: 1000,
        subscription: from("00ff"),
        assignment: from("01"),
      },
    ],
  },
};

const groupValue = bytes(
  ["0003", "version"],
  ["0008 636f6e73756d6572", "protocol type consumer"],
  ["00000004", "generation"],
  ["0005 72616e6765", "protocol range"],
  ["0003 6d2d31", "leader m-1"],
  ["0000000000000009", "since"],
  ["00000001", "members"],
  ["0003 6d2d31", "member id"],
  ["ffff", "no instance id"],
  ["0001 63", "client id"],
  ["0001 68", "host"],
  ["000007d0", "rebalance timeout"],
  ["000003e8", "session timeout"],
  ["00000002 00ff", "subscription"],
  ["00000001 01", "assignment"],
);

describe("Kafka's form", () => {
  test("of a committed offset", () => {
    expect(hex(encodeOffsetKey("g1", "t", 5))).toBe(offsetKey);
    const value = bytes(
      ["0003", "version"],
      ["0000000000000102", "offset"],
      ["00000003", "leader epoch"],
      ["0001 6d", "metadata m"],
      ["0000000100000001", "commit time"],
    );
    expect(hex(encodeOffset(committed))).toBe(value);
    const place = { kind: "offset", group: "g1", topic: "t", partition: 5 };
    expect(decode(from(offsetKey), from(value))).toEqual({ ...place, value: committed });
    expect(decode(from(offsetKey), null)).toEqual({ ...place, value: null });
  });

  test("of an offset with an end of its own", () => {
    const value = bytes(
      ["0001", "version"],
      ["0000000000000102", "offset"],
      ["0001 6d", "metadata m"],
      ["0000000100000001", "commit time"],
      ["0000000100000002", "expire time"],
    );
    const ends = { ...committed, expiresMs: 0x1_0000_0002 };
    expect(hex(encodeOffset(ends))).toBe(value);
    // its version has no leader epoch
    expect(decode(from(offsetKey), from(value))?.value).toEqual({ ...ends, leaderEpoch: -1 });
  });

  test("of a group", () => {
    expect(hex(encodeGroupKey("g1"))).toBe(groupKey);
    expect(hex(encodeGroup(group))).toBe(groupValue);
    const decoded = decode(from(groupKey), from(groupValue));
    expect(decoded).toMatchObject({ kind: "group", group: "g1", value: { sinceMs: 9 } });
    const { snapshot } = (decoded as { value: typeof group }).value;
    expect(snapshot.members[0].subscription).toEqual(new Uint8Array([0, 0xff]));
    expect({ ...snapshot, members: [] }).toEqual({ ...group.snapshot, members: [] });
  });

  test("of older versions", () => {
    const old = bytes(
      ["0000", "version"],
      ["0007 636f6e6e656374", "protocol type connect"],
      ["00000001", "generation"],
      ["ffff", "no protocol"],
      ["ffff", "no leader"],
      ["00000001", "members"],
      ["0001 6d", "member id"],
      ["0001 63", "client id"],
      ["0001 68", "host"],
      ["000003e8", "session timeout"],
      ["00000000", "subscription"],
      ["00000000", "assignment"],
    );
    const value = decode(from(groupKey), from(old))?.value;
    expect(value).toMatchObject({ sinceMs: -1, snapshot: { protocol: null, leader: null } });
    const [member] = (value as typeof group).snapshot.members;
    expect(member).toMatchObject({ sessionTimeoutMs: 1000, rebalanceTimeoutMs: 1000 });
  });
});

test("other kinds of records are passed over, broken ones are named", () => {
  // KIP-848's, which a later Kafka writes
  expect(decode(from("00030001ff"), from("0000"))).toBeNull();
  for (const key of ["", "00", "0001", "00020005"]) {
    expect(() => decode(from(key), null)).toThrow(Malformed);
  }
  for (const value of ["", "0009", "0003", groupValue.slice(0, -4)]) {
    expect(() => decode(from(groupKey), from(value))).toThrow(Malformed);
  }
});
