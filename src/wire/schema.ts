/**
 * Kafka's messages as tables: which fields, in which versions, of which type. The table is all
 * that is written by hand; encoder and decoder of each version come from it.
 *
 *     const topic = struct({ name: field("0+", string), topicId: field("10+", uuid) });
 *
 * A field that a version does not have is skipped when writing and has its default when read.
 * Types without a form of their own in flexible versions are the same in all.
 * Source of the format: kafka.apache.org/protocol and KIP-482.
 */
import assert from "node:assert/strict";
import { Malformed, type Reader } from "./reader.ts";
import { Writer } from "./writer.ts";

export type Codec<T> = { read(r: Reader): T; write(w: Writer, value: T): void };

/** What a type is, for those who walk tables. */
export type Shape =
  | { of: PlainName | "string" | "bytes" | "records" }
  | { of: "array"; item: Type<unknown> }
  | { of: "struct"; fields: Fields };

type PlainName = "boolean" | "int8" | "int16" | "int32" | "int64" | "uuid";

export type Type<T> = {
  readonly shape: Shape;
  /** Versions in which null is allowed. */
  readonly nullable: Range | null;
  /** What a field of this type holds in versions that do not have it. */
  readonly default: T;
  codec(version: number, flexible: boolean): Codec<T>;
};

/** First and last version; "0+", "1-3", "4". */
export type Range = { from: number; to: number };

export function range(text: string): Range {
  const match = /^(\d+)(\+|-(\d+))?$/.exec(text);
  if (match === null) throw new Error(`not a range of versions: ${text}`);
  const from = Number(match[1]);
  if (match[2] === undefined) return { from, to: from };
  return { from, to: match[2] === "+" ? Infinity : Number(match[3]) };
}

export const within = (version: number, { from, to }: Range): boolean =>
  version >= from && version <= to;

export type Field<T> = { type: Type<T>; versions: Range; tag: number | null; default: T };

// oxlint-disable-next-line typescript/no-explicit-any -- a table holds fields of all types
export type Fields = Record<string, Field<any>>;

export type Values<F extends Fields> = {
  [Name in keyof F]: F[Name] extends Field<infer T> ? T : never;
};

export function field<T>(
  versions: string,
  type: Type<T>,
  options: { default?: NoInfer<T>; tag?: number } = {},
): Field<T> {
  const fallback = "default" in options ? (options.default as T) : type.default;
  return { type, versions: range(versions), tag: options.tag ?? null, default: fallback };
}

function plain<T>(of: PlainName, fallback: T, codec: Codec<T>): Type<T> {
  return { shape: { of }, nullable: null, default: fallback, codec: () => codec };
}

export const boolean = plain("boolean", false, {
  read: (r) => r.int8() !== 0,
  write: (w, value) => w.int8(value ? 1 : 0),
});
export const int8 = plain("int8", 0, { read: (r) => r.int8(), write: (w, v) => w.int8(v) });
export const int16 = plain("int16", 0, { read: (r) => r.int16(), write: (w, v) => w.int16(v) });
export const int32 = plain("int32", 0, { read: (r) => r.int32(), write: (w, v) => w.int32(v) });
/** A plain number: see `Reader.int64`. */
export const int64 = plain("int64", 0, { read: (r) => r.int64(), write: (w, v) => w.int64(v) });

export const ZERO_UUID = "00000000-0000-0000-0000-000000000000";

/** As text with hyphens. */
export const uuid = plain("uuid", ZERO_UUID, {
  read: (r) => {
    const hex = r.view(16).toString("hex");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  },
  write: (w, value) => {
    const bytes = Buffer.from(value.replaceAll("-", ""), "hex");
    assert(bytes.length === 16, `not a uuid: ${value}`);
    w.raw(bytes);
  },
});

/** Length, or -1 for null, as each form writes it. */
function readLength(r: Reader, flexible: boolean, wide: boolean): number {
  if (flexible) return r.uvarint() - 1;
  return wide ? r.int32() : r.int16();
}

/** Of a string in compact form, too. */
const STRING_BYTES_MAX = 0x7fff;

function writeLength(w: Writer, length: number, flexible: boolean, wide: boolean): void {
  if (flexible) w.uvarint(length + 1);
  else if (wide) w.int32(length);
  else w.int16(length);
}

function nulled(): never {
  throw new Malformed("null where there may be none");
}

const nullString = (flexible: boolean): Codec<string | null> => ({
  read: (r) => {
    const length = readLength(r, flexible, false);
    if (length > STRING_BYTES_MAX) throw new Malformed("a string of more than 32767 bytes");
    return length === -1 ? null : r.utf8(length);
  },
  write: (w, value) => {
    if (value === null) return writeLength(w, -1, flexible, false);
    writeLength(w, Buffer.byteLength(value), flexible, false);
    w.utf8(value);
  },
});

/** A copy when read: it may outlive the frame. */
const nullBytes = (flexible: boolean): Codec<Uint8Array | null> => ({
  read: (r) => {
    const length = readLength(r, flexible, true);
    return length === -1 ? null : Uint8Array.from(r.view(length));
  },
  write: (w, value) => {
    writeLength(w, value === null ? -1 : value.length, flexible, true);
    if (value !== null) w.raw(value);
  },
});

/** A view of the frame when read; spliced in, not copied, when written. */
const nullRecords = (flexible: boolean): Codec<Uint8Array | null> => ({
  read: (r) => {
    const length = readLength(r, flexible, true);
    return length === -1 ? null : r.view(length);
  },
  write: (w, value) => {
    writeLength(w, value === null ? -1 : value.length, flexible, true);
    if (value !== null) w.splice(value);
  },
});

function present<T>(codec: Codec<T | null>): Codec<T> {
  return { read: (r) => codec.read(r) ?? nulled(), write: codec.write };
}

function forms<T>(make: (flexible: boolean) => Codec<T>): Type<T>["codec"] {
  const [classic, compact] = [make(false), make(true)];
  return (_, flexible) => (flexible ? compact : classic);
}

export const string: Type<string> = {
  shape: { of: "string" },
  nullable: null,
  default: "",
  codec: forms((flexible) => present(nullString(flexible))),
};
export const bytes: Type<Uint8Array> = {
  shape: { of: "bytes" },
  nullable: null,
  default: Buffer.alloc(0),
  codec: forms((flexible) => present(nullBytes(flexible))),
};

/** Record batches, which this room never looks into. */
export const records: Type<Uint8Array | null> = {
  shape: { of: "records" },
  nullable: range("0+"),
  default: null,
  codec: forms(nullRecords),
};

/** Null is allowed in `versions`; before the field's default is written for it. */
export function nullableString(versions = "0+"): Type<string | null> {
  return nullable(string, forms(nullString), versions);
}

export function nullableBytes(versions = "0+"): Type<Uint8Array | null> {
  return nullable(bytes, forms(nullBytes), versions);
}

function nullable<T>(
  type: Type<T>,
  withNull: Type<T | null>["codec"],
  versions: string,
): Type<T | null> {
  const allowed = range(versions);
  return {
    shape: type.shape,
    nullable: allowed,
    default: type.default,
    codec: (version, flexible) => {
      if (within(version, allowed)) return withNull(version, flexible);
      const { read, write } = type.codec(version, flexible);
      return { read, write: (w, value) => write(w, value ?? type.default) };
    },
  };
}

function arrayCodec<T>(item: Codec<T>, flexible: boolean): Codec<T[] | null> {
  return {
    read: (r) => {
      const count = readLength(r, flexible, true);
      if (count === -1) return null;
      r.countItems(count);
      const items: T[] = [];
      for (let i = 0; i < count; i++) items.push(item.read(r));
      return items;
    },
    write: (w, items) => {
      writeLength(w, items === null ? -1 : items.length, flexible, true);
      for (const value of items ?? []) item.write(w, value);
    },
  };
}

export function array<T>(item: Type<T>): Type<T[]> {
  return {
    shape: { of: "array", item },
    nullable: null,
    default: [],
    codec: (version, flexible) =>
      present(arrayCodec(item.codec(version, flexible), flexible)) as Codec<T[]>,
  };
}

export function nullableArray<T>(item: Type<T>, versions = "0+"): Type<T[] | null> {
  const withNull: Type<T[] | null>["codec"] = (version, flexible) =>
    arrayCodec(item.codec(version, flexible), flexible);
  return nullable(array(item), withNull, versions);
}

type Step = { name: string; codec: Codec<unknown>; tag: number; whenAbsent: unknown };

export function struct<F extends Fields>(fields: F): Type<Values<F>> {
  return {
    shape: { of: "struct", fields },
    nullable: null,
    default: defaultsOf(fields),
    codec: (version, flexible) => {
      const steps: Step[] = [];
      const tagged: Step[] = [];
      const absent: Record<string, unknown> = {};
      for (const [name, f] of Object.entries(fields)) {
        const here = within(version, f.versions);
        if (!here || f.tag !== null) absent[name] = f.default;
        if (!here) continue;
        const codec = f.type.codec(version, flexible) as Codec<unknown>;
        const step = { name, codec, tag: f.tag ?? -1, whenAbsent: f.default as unknown };
        (f.tag === null ? steps : tagged).push(step);
      }
      tagged.sort((a, b) => a.tag - b.tag);
      return {
        read: (r) => {
          const value: Record<string, unknown> = { ...absent };
          for (const { name, codec } of steps) value[name] = codec.read(r);
          if (flexible) readTagged(r, tagged, value);
          return value as Values<F>;
        },
        write: (w, value) => {
          for (const { name, codec } of steps) codec.write(w, value[name]);
          if (flexible) writeTagged(w, tagged, value);
        },
      };
    },
  };
}

export function defaultsOf<F extends Fields>(fields: F): Values<F> {
  const defaults = Object.entries(fields).map(([name, f]) => [name, f.default as unknown]);
  return Object.fromEntries(defaults) as Values<F>;
}

function readTagged(r: Reader, steps: Step[], value: Record<string, unknown>): void {
  for (let left = r.uvarint(); left > 0; left--) {
    const tag = r.uvarint();
    const length = r.uvarint();
    const end = r.skip(length) + length;
    const step = steps.find((s) => s.tag === tag);
    if (step === undefined) continue;
    r.at = end - length;
    value[step.name] = step.codec.read(r);
    if (r.at !== end) throw new Malformed(`tagged field ${tag}`);
  }
}

/** A tagged field that holds its default is left out. */
function writeTagged(w: Writer, steps: Step[], value: Record<string, unknown>): void {
  const chosen: { tag: number; bytes: Buffer }[] = [];
  for (const { name, codec, tag, whenAbsent } of steps) {
    if (value[name] === whenAbsent) continue;
    const bytes = encoded(codec, value[name]);
    if (!bytes.equals(encoded(codec, whenAbsent))) chosen.push({ tag, bytes });
  }
  w.uvarint(chosen.length);
  for (const { tag, bytes } of chosen) {
    w.uvarint(tag);
    w.uvarint(bytes.length);
    w.raw(bytes);
  }
}

function encoded<T>(codec: Codec<T>, value: T): Buffer {
  const w = new Writer(64);
  codec.write(w, value);
  return w.bytes;
}
