/** Values of any message, drawn from its table. */
import fc from "fast-check";
import type { AnyApi } from "../../src/wire/api.ts";
import { type Codec, defaultsOf, type Fields, type Type, within } from "../../src/wire/schema.ts";

export type Message = {
  title: string;
  api: AnyApi;
  version: number;
  fields: Fields;
  codec: Codec<Record<string, unknown>>;
};

/** Both messages of an API, in every version that is served. */
export function messagesOf(api: AnyApi): Message[] {
  const messages: Message[] = [];
  for (let version = api.versions.from; version <= api.versions.to; version++) {
    messages.push({
      title: `${api.name} ${version} request`,
      api,
      version,
      fields: api.requestFields as Fields,
      codec: api.request(version),
    });
    messages.push({
      title: `${api.name} ${version} response`,
      api,
      version,
      fields: api.responseFields as Fields,
      codec: api.response(version),
    });
  }
  return messages;
}

const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ maxLength: 12 }) },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 40 }).filter(isWellFormed) },
);

function isWellFormed(s: string): boolean {
  return Buffer.from(s).toString() === s;
}

const int64 = fc.oneof(
  fc.maxSafeInteger(),
  fc.constantFrom(-1, -2, 0, 2 ** 31, 2 ** 32, -(2 ** 32), 2 ** 53, -(2 ** 63), 2 ** 63 - 1024),
);
/** Long ones are spliced into an answer, not copied. */
const bytes = fc.oneof(
  { weight: 6, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  { weight: 1, arbitrary: fc.uint8Array({ minLength: 2040, maxLength: 2060 }) },
);

function valueOf(type: Type<unknown>, version: number): fc.Arbitrary<unknown> {
  const some = presentValueOf(type, version);
  const { nullable } = type;
  if (nullable === null || !within(version, nullable)) return some;
  return fc.option(some, { nil: null, freq: 4 });
}

function presentValueOf({ shape }: Type<unknown>, version: number): fc.Arbitrary<unknown> {
  switch (shape.of) {
    case "boolean":
      return fc.boolean();
    case "int8":
      return fc.integer({ min: -128, max: 127 });
    case "int16":
      return fc.integer({ min: -32768, max: 32767 });
    case "int32":
      return fc.integer();
    case "int64":
      return int64;
    case "uuid":
      return fc.uuid();
    case "string":
      return text;
    case "bytes":
    case "records":
      return bytes;
    case "array":
      return fc.array(valueOf(shape.item, version), { maxLength: 4 });
    case "struct":
      return fieldsOf(shape.fields, version);
  }
}

/** What a message of this version can carry; other fields hold their defaults. */
export function fieldsOf(fields: Fields, version: number): fc.Arbitrary<Record<string, unknown>> {
  const drawn: Record<string, fc.Arbitrary<unknown>> = {};
  for (const [name, f] of Object.entries(fields)) {
    const here = within(version, f.versions);
    drawn[name] = here ? valueOf(f.type as Type<unknown>, version) : fc.constant(f.default);
  }
  return fc.record(drawn);
}

/**
 * Values of this version that hold one item in every array and defaults else, each with one array,
 * string or bytes field set by `set`; `set` returns undefined to leave a field alone.
 */
export function variantsOf(
  fields: Fields,
  version: number,
  set: (type: Type<unknown>, item: () => unknown) => unknown,
): { path: string; value: Record<string, unknown> }[] {
  const variants: { path: string; value: Record<string, unknown> }[] = [];
  for (const [name, f] of Object.entries(fields)) {
    if (!within(version, f.versions)) continue;
    const type = f.type as Type<unknown>;
    const base = (): Record<string, unknown> => filled(fields, version);
    const changed = set(type, () => itemOf(type, version));
    if (changed !== undefined) variants.push({ path: name, value: { ...base(), [name]: changed } });
    const inner = innerFields(type);
    if (inner === null) continue;
    for (const { path, value } of variantsOf(inner, version, set)) {
      const own = type.shape.of === "array" ? [value] : value;
      variants.push({ path: `${name}.${path}`, value: { ...base(), [name]: own } });
    }
  }
  return variants;
}

function innerFields({ shape }: Type<unknown>): Fields | null {
  if (shape.of === "struct") return shape.fields;
  if (shape.of === "array" && shape.item.shape.of === "struct") return shape.item.shape.fields;
  return null;
}

function itemOf({ shape }: Type<unknown>, version: number): unknown {
  if (shape.of !== "array") return undefined;
  const { item } = shape;
  return item.shape.of === "struct" ? filled(item.shape.fields, version) : item.default;
}

function filled(fields: Fields, version: number): Record<string, unknown> {
  const value: Record<string, unknown> = { ...defaultsOf(fields) };
  for (const [name, f] of Object.entries(fields)) {
    const type = f.type as Type<unknown>;
    if (within(version, f.versions) && type.shape.of === "array")
      value[name] = [itemOf(type, version)];
  }
  return value;
}
