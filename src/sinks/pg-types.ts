/** Values as the receive functions of PostgreSQL's types take them. */
import type { WriteValue } from "./own-columns.ts";

const whole = (low: number, high: number, bytes: 2 | 4): WriteValue => {
  return (value) => {
    if (typeof value !== "number" || !Number.isInteger(value)) return null;
    if (value < low || value > high) return null;
    const out = Buffer.alloc(bytes);
    out.writeIntBE(value, 0, bytes);
    return out;
  };
};

/** By PostgreSQL's name of the type; columns of others are left to their defaults. */
const writers: Readonly<Record<string, WriteValue>> = {
  text: (value) => (typeof value === "string" ? Buffer.from(value) : null),
  bool: (value) => (typeof value === "boolean" ? Buffer.from([Number(value)]) : null),
  int2: whole(-32_768, 32_767, 2),
  int4: whole(-2_147_483_648, 2_147_483_647, 4),
  int8: (value) => {
    if (!Number.isSafeInteger(value)) return null;
    const out = Buffer.alloc(8);
    out.writeBigInt64BE(BigInt(value as number));
    return out;
  },
  float4: (value) => {
    if (typeof value !== "number" || !Number.isFinite(Math.fround(value))) return null;
    const out = Buffer.alloc(4);
    out.writeFloatBE(value);
    return out;
  },
  float8: (value) => {
    if (typeof value !== "number") return null;
    const out = Buffer.alloc(8);
    out.writeDoubleBE(value);
    return out;
  },
};

export function writerOf(type: string): WriteValue | null {
  return Object.hasOwn(writers, type) ? writers[type] : null;
}
