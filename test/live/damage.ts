import { readFileSync, writeFileSync } from "node:fs";

/** Changes one byte of the first place in a file where `text` stands; false: nowhere. */
export function damageRecord(path: string, text: string): boolean {
  const bytes = readFileSync(path);
  const at = bytes.indexOf(text);
  if (at < 0) return false;
  bytes[at] ^= 1;
  writeFileSync(path, bytes);
  return true;
}
