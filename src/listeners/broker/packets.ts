/**
 * MQTT packets as bytes: where one ends, and whether a client may send it. aedes parses leniently,
 * so what 3.1.1 tells a server to close for is found here, before aedes sees it.
 */
import { isUtf8 } from "node:buffer";

export const types = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  pingreq: 12,
  disconnect: 14,
} as const;

/** Bytes of the packet that begins at `start`; 0 when it is cut or its length is malformed. */
export function packetLength(b: Uint8Array, start: number): number {
  let length = 0;
  for (let i = 0; i < 4; i++) {
    const at = start + 1 + i;
    if (at >= b.length) return 0;
    length += (b[at] & 0x7f) << (7 * i);
    if (b[at] < 0x80) {
      const whole = 2 + i + length;
      return start + whole <= b.length ? whole : 0;
    }
  }
  return 0;
}

/** Where the variable header of a whole packet begins. */
function bodyStart(b: Uint8Array): number {
  let at = 1;
  while (b[at] >= 0x80) at++;
  return at + 1;
}

/** Why a connection must be closed for this packet (after its CONNECT), or null. */
export function packetFault(b: Uint8Array): string | null {
  const flags = b[0] & 0x0f;
  const start = bodyStart(b);
  switch (b[0] >> 4) {
    case types.publish:
      return publishFault(b, start, flags);
    case types.puback:
    case types.pubrec:
    case types.pubcomp:
      return flags === 0 && isIdOnly(b, start) ? null : "acknowledgement malformed";
    case types.pubrel:
      return flags === 2 && isIdOnly(b, start) ? null : "PUBREL malformed";
    case types.subscribe:
      return flags === 2 ? filtersFault(b, start, 1) : "SUBSCRIBE flags";
    case types.unsubscribe:
      return flags === 2 ? filtersFault(b, start, 0) : "UNSUBSCRIBE flags";
    case types.pingreq:
    case types.disconnect:
      return flags === 0 && b.length === 2 ? null : "packet without body malformed";
    default:
      return "packet of this type not allowed"; // a second CONNECT too [MQTT-3.1.0-2]
  }
}

function publishFault(b: Uint8Array, start: number, flags: number): string | null {
  const qos = (flags >> 1) & 3;
  if (qos === 3) return "QoS 3"; // [MQTT-3.3.1-4]
  if (qos === 0 && (flags & 8) !== 0) return "DUP with QoS 0"; // [MQTT-3.3.1-2]
  const end = stringEnd(b, start);
  if (end <= start + 2) return "topic missing";
  if (qos > 0 && packetId(b, end) === 0) return "packet id missing"; // [MQTT-2.3.1-1]
  return isText(b, start + 2, end) ? null : "topic not valid UTF-8";
}

function filtersFault(b: Uint8Array, start: number, optionBytes: number): string | null {
  if (packetId(b, start) === 0) return "packet id missing";
  let at = start + 2;
  if (at >= b.length) return "no filter"; // [MQTT-3.8.3-3], [MQTT-3.10.3-2]
  while (at < b.length) {
    const end = stringEnd(b, at);
    if (end <= at + 2 || end + optionBytes > b.length) return "filter cut or empty";
    if (!isText(b, at + 2, end) || !isFilter(b, at + 2, end)) return "filter malformed";
    if (optionBytes > 0 && b[end] > 2) return "requested QoS"; // [MQTT-3-8.3-4]
    at = end + optionBytes;
  }
  return null;
}

/** The filters of a sound SUBSCRIBE, in order. */
export function filtersOf(b: Buffer): string[] {
  const filters: string[] = [];
  for (let at = bodyStart(b) + 2; at < b.length;) {
    const end = stringEnd(b, at);
    filters.push(b.toString("latin1", at + 2, end));
    at = end + 1;
  }
  return filters;
}

/**
 * aedes answers a filter that stands several times in a SUBSCRIBE once; the client expects a code
 * for each [MQTT-3.8.4-5]. Null when there is nothing to mend.
 */
export function repeatCodes(filters: string[], suback: Buffer): Buffer | null {
  const firsts = new Map<string, number>();
  for (const filter of filters) if (!firsts.has(filter)) firsts.set(filter, firsts.size);
  if (firsts.size === filters.length) return null;
  const start = bodyStart(suback);
  const codes = suback.subarray(start + 2);
  const length: number[] = [];
  for (let rest = 2 + filters.length; rest > 0; rest >>= 7) {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
  }
  return Buffer.concat([
    Buffer.from([suback[0], ...length]),
    suback.subarray(start, start + 2),
    Buffer.from(filters.map((filter) => codes[firsts.get(filter) as number])),
  ]);
}

/** `+` and `#` stand alone in their level, `#` in the last one [MQTT-4.7.1-2], [MQTT-4.7.1-3]. */
function isFilter(b: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    if (b[i] !== 0x2b && b[i] !== 0x23) continue;
    if (i > start && b[i - 1] !== 0x2f) return false;
    const last = i + 1 === end;
    if (!last && (b[i] === 0x23 || b[i + 1] !== 0x2f)) return false;
  }
  return true;
}

/** [MQTT-1.5.3-1], [MQTT-1.5.3-2] */
function isText(b: Uint8Array, start: number, end: number): boolean {
  const text = b.subarray(start, end);
  return !text.includes(0) && isUtf8(text);
}

function isIdOnly(b: Uint8Array, start: number): boolean {
  return b.length === start + 2 && packetId(b, start) !== 0;
}

/** 0 when missing. */
export function packetId(b: Uint8Array, at: number): number {
  return at + 2 <= b.length ? (b[at] << 8) | b[at + 1] : 0;
}

/** Where the length-prefixed string at `at` ends; 0 when it is cut. */
function stringEnd(b: Uint8Array, at: number): number {
  if (at + 2 > b.length) return 0;
  const end = at + 2 + ((b[at] << 8) | b[at + 1]);
  return end <= b.length ? end : 0;
}
