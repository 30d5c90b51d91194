import type { DriverMemory } from "../../src/codec/driver-memory.ts";
import { flagNames } from "../../src/codec/flags.ts";
import { PingReader } from "../../src/codec/ping.ts";

/** 2025-11-21T12:00:00Z, the receive time of every ping in these tests. */
export const now = 1_763_726_400_000;

export type Outcome =
  | { reason: string }
  | {
      value: string;
      key: string;
      ts: number;
      lat: number;
      lon: number;
      flags: string[];
      /** Stored as the sender's own bytes. */
      own: boolean;
    };

export function outcome(reader: PingReader, accepted: boolean, bytes: Uint8Array): Outcome {
  if (!accepted) return { reason: reader.reason! };
  const { value, valueStart, valueEnd, key, keyStart, keyEnd, ts, lat, lon } = reader;
  return {
    value: Buffer.from(value).toString("utf8", valueStart, valueEnd),
    key: Buffer.from(key).toString("utf8", keyStart, keyEnd),
    ts,
    lat,
    lon,
    flags: flagNames.filter((_name, bit) => (reader.flags & (1 << bit)) !== 0),
    own: value === bytes,
  };
}

/** Reads a body that lies between other bytes, as it does in a socket's chunk. */
export function read(
  body: string | Uint8Array,
  identity: string | null = null,
  memory: DriverMemory | null = null,
  reader = new PingReader(),
): Outcome {
  const bytes = Buffer.concat([Buffer.from('"}1'), Buffer.from(body), Buffer.from('9,"}')]);
  const who = identity === null ? null : Buffer.from(identity);
  return outcome(reader, reader.read(bytes, 3, bytes.length - 4, now, who, memory), bytes);
}
