/** FNV-1a, 32 bits. Source: the Internet draft draft-eastlake-fnv. */
const BASIS = 0x811c9dc5;
const PRIME = 0x01000193;

/** `basis`: another one makes another hash. */
export function fnv1a(bytes: Uint8Array, start: number, end: number, basis = BASIS): number {
  let h = basis;
  for (let i = start; i < end; i++) h = Math.imul(h ^ bytes[i], PRIME);
  return h;
}

/** Mixes the bits of a hash once more, for who uses a part of them or compares them. */
export function mixed(hash: number): number {
  const h = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return h ^ (h >>> 13);
}
