import type { LogRecord } from "../log/types.ts";

type Text = string | { base64: string };

export type RecordJson = {
  topic: string;
  partition: number;
  offset: number;
  timestamp: number;
  key: Text | null;
  value: Text | null;
  headers: [string, Text][];
};

// ignoreBOM keeps a byte order mark: what is shown is what is stored
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A record as commands print it: text as strings, anything else in base64. */
export function recordJson(topic: string, record: LogRecord): RecordJson {
  const { partition, offset, timestamp, key, value, headers } = record;
  return {
    topic,
    partition,
    offset,
    timestamp,
    key: key && text(key),
    value: value && text(value),
    headers: headers.map(([name, bytes]) => [name, text(bytes)]),
  };
}

/** Text as it is; as JSON where `awkward` would make it ambiguous in its line, or it is no text. */
export function plain(value: Text | null, awkward: RegExp): string {
  return typeof value === "string" && !awkward.test(value) ? value : JSON.stringify(value);
}

function text(bytes: Uint8Array): Text {
  try {
    return utf8.decode(bytes);
  } catch {
    return { base64: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64") };
  }
}
