/** What the values in `__mqtt` look like: u32 length of a JSON head, the head, then a payload. */

import type { Packet } from "./session.ts";

export type StoredHead = {
  /** ms; the payload is worthless after it. */
  expires?: number;
  topic?: string;
  qos?: number;
  retain?: boolean;
  messageId?: number;
  pubrel?: boolean;
  [field: string]: unknown;
};

export type Stored = { head: StoredHead; payload: Buffer };

const NOTHING = Buffer.alloc(0);

export function encodeStored(head: StoredHead, payload: Uint8Array = NOTHING): Buffer {
  const json = Buffer.from(JSON.stringify(head));
  const value = Buffer.allocUnsafe(4 + json.length + payload.length);
  value.writeUInt32LE(json.length);
  value.set(json, 4);
  value.set(payload, 4 + json.length);
  return value;
}

/** Null when the value is none of ours. The payload is a copy. */
export function decodeStored(value: Uint8Array): Stored | null {
  const b = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (b.length < 4) return null;
  const end = 4 + b.readUInt32LE(0);
  if (end > b.length) return null;
  try {
    const head: unknown = JSON.parse(b.toString("utf8", 4, end));
    if (typeof head !== "object" || head === null) return null;
    return { head: head as StoredHead, payload: Buffer.from(b.subarray(end)) };
  } catch {
    return null;
  }
}

export function packetOf({ head, payload }: Stored): Packet {
  const { topic = "", qos = 0, retain = false } = head;
  return { cmd: "publish", topic, payload, qos, retain, dup: false };
}
