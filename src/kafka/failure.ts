/**
 * The answer to a request whose handler failed: every item of the request with the same error, as
 * Kafka's own `getErrorResponse`. It follows from the two tables, for they name things alike:
 * `topics[name].partitions[partitionIndex]` is answered by `responses[name].partitions[…]`.
 */
import { defaultsOf, type Fields, type Type, within } from "../wire/schema.ts";

type Message = Record<string, unknown>;
type Answered = { value: Message; placed: boolean };

/** Null: the response has no place for an error. */
export function failure(
  fields: Fields,
  version: number,
  request: Message,
  errorCode: number,
): Message | null {
  const { value, placed } = answer(fields, version, request, errorCode);
  return placed ? value : null;
}

function answer(fields: Fields, version: number, asked: unknown, errorCode: number): Answered {
  const value: Message = { ...defaultsOf(fields), ...named(fields, version, asked) };
  const here = (name: string): boolean => name in fields && within(version, fields[name].versions);
  if (here("errorCode")) return { value: { ...value, errorCode }, placed: true };
  const items = isMessage(asked) ? Object.values(asked).find(isFilled) : undefined;
  for (const [name, { type }] of Object.entries(fields)) {
    const inner = structOf(type as Type<unknown>);
    if (!here(name) || inner === null || items === undefined) continue;
    const answers = items.map((item: unknown) => answer(inner, version, item, errorCode));
    if (!answers.some(({ placed }) => placed)) continue;
    return { value: { ...value, [name]: answers.map((a) => a.value) }, placed: true };
  }
  return { value, placed: false };
}

/** What of `asked` names the item: fields of the same name, or the first of the same type. */
function named(fields: Fields, version: number, asked: unknown): Message {
  const same: Message = {};
  for (const [name, { type, versions }] of Object.entries(fields)) {
    const { of } = (type as Type<unknown>).shape;
    if (!within(version, versions) || of === "array" || name === "errorCode") continue;
    if (isMessage(asked)) {
      if (name in asked) same[name] = asked[name];
    } else if (of === "string" ? typeof asked === "string" : of.startsWith("int")) {
      return { [name]: asked };
    }
  }
  return same;
}

function structOf({ shape }: Type<unknown>): Fields | null {
  if (shape.of !== "array" || shape.item.shape.of !== "struct") return null;
  return shape.item.shape.fields;
}

const isFilled = (value: unknown): value is unknown[] => Array.isArray(value) && value.length > 0;

const isMessage = (value: unknown): value is Message =>
  typeof value === "object" && value !== null && !Array.isArray(value);
