/**
 * One value of a message in which no two fields of a type are equal, and its comparison with what
 * another implementation read or is to write, whose names may differ.
 */
import { expect } from "vitest";
import { MAGIC } from "../../src/batch/layout.ts";
import { type Fields, type Type, within } from "../../src/wire/schema.ts";

/** Path of a field, without indexes → its name there; null: it is not there. */
export type Names = Readonly<Record<string, string | null>>;
type Message = Record<string, unknown>;

export function sample(fields: Fields, version: number): Message {
  let next = 1;
  const of = (type: Type<unknown>, name: string): unknown => {
    // clients throw at an error, instead of returning what they read
    const isError = /^(topicConfig)?errorCode$/i.test(name);
    const { shape } = type;
    switch (shape.of) {
      case "boolean":
        return true;
      case "int8":
        return next++ % 128;
      case "int16":
        return isError ? 0 : 1000 + next++;
      case "int32":
        return 100_000 + next++;
      case "int64":
        return 2 ** 40 + next++;
      case "uuid":
        return `00000000-0000-4000-8000-${String(next++).padStart(12, "0")}`;
      case "string":
        return `${name} ${next++}`;
      case "bytes":
        return Uint8Array.from(Buffer.from(`${name} ${next++}`));
      case "records":
        return null;
      case "array":
        return [of(shape.item, name), of(shape.item, name)];
      case "struct":
        return all(shape.fields);
    }
  };
  const all = (within_: Fields): Message => {
    const value: Message = {};
    for (const [name, f] of Object.entries(within_)) {
      const here = within(version, f.versions) && f.tag === null;
      value[name] = here ? of(f.type as Type<unknown>, name) : f.default;
    }
    return value;
  };
  return all(fields);
}

/** The same with other names, and only what the version has; int64 as `int64` makes it. */
export function renamed(
  fields: Fields,
  version: number,
  value: Message,
  names: Names,
  int64: (n: number) => unknown,
  path = "",
): Message {
  const of = ({ shape }: Type<unknown>, v: unknown, at: string): unknown => {
    if (v === null) return null;
    if (shape.of === "array") return (v as unknown[]).map((item) => of(shape.item, item, at));
    if (shape.of === "struct") {
      return renamed(shape.fields, version, v as Message, names, int64, `${at}.`);
    }
    if (shape.of === "int64") return int64(v as number);
    return v instanceof Uint8Array ? Buffer.from(v) : v;
  };
  const out: Message = {};
  for (const [name, f] of Object.entries(fields)) {
    if (!within(version, f.versions) || f.tag !== null) continue;
    const at = path + name;
    const theirs = at in names ? names[at] : name;
    if (theirs !== null) out[theirs] = of(f.type as Type<unknown>, value[name], at);
  }
  return out;
}

/** `got` holds all of `wanted`, and may hold more. */
export function expectHolds(got: unknown, wanted: unknown): void {
  const plain = (v: unknown): unknown => {
    if (typeof v === "bigint") return `${v}`;
    if (v instanceof Uint8Array) return Buffer.from(v).toString();
    if (Array.isArray(v)) return v.map(plain);
    if (v === null || typeof v !== "object") return v;
    return Object.fromEntries(Object.entries(v).map(([name, one]) => [name, plain(one)]));
  };
  expect(plain(got)).toMatchObject(plain(wanted) as object);
}

/** A request with its record batches taken out, once they look like some. */
export function withoutRecords(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutRecords);
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  const entries = Object.entries(value).map(([name, v]) => {
    if (name !== "records") return [name, withoutRecords(v)];
    expect((v as Uint8Array)[MAGIC]).toBe(2);
    return [name, null];
  });
  return Object.fromEntries(entries);
}
