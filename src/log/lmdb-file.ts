/**
 * Reads an LMDB file page by page, trusting nothing in it: LMDB itself has no checksums of its
 * pages and follows a damaged one wherever it points, out of the process if need be. Only for a
 * file that nobody writes to.
 *
 * Layout of data format 2 (lmdb-js's; little-endian): a page begins with its number u64, txn u64,
 * pad u16, flags u16 and then lower u16, upper u16 (or, on overflow pages, their count u32);
 * pointers to nodes follow, relative to the end of that header. A node is lo u16, hi u16,
 * flags u16, key size u16, key, data.
 */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { MilepostError } from "../model/errors.ts";

const PAGE_BYTES = 4096;
const META_BYTES = 168;
/** lmdb-js keeps a copy of the meta of the last flushed commit in the middle of the first page. */
const FLUSHED_META_AT = PAGE_BYTES / 2;
/** Flag of a commit that was not flushed when its meta was written. */
const OVERLAPPING_SYNC = 0x1000;
const HEAD_BYTES = 24;
const NODE_BYTES = 8;
const MAGIC = 0xbeefc0de;
const DATA_FORMAT = 2;
const BRANCH = 0x01;
const LEAF = 0x02;
const OVERFLOW = 0x04;
const BIG_DATA = 0x01;
const DEPTH_MAX = 16;
const NO_PAGE = 2 ** 32;

export type FileEntry = { key: Buffer; value: Buffer };
/** `at`: where its data, or the number of its first overflow page, lies in `page`. */
type LeafNode = { key: Buffer; page: Buffer; at: number; bytes: number; flags: number };

type Meta = {
  unflushed: boolean;
  free: number;
  root: number;
  lastPage: number;
  txn: number;
  boot: number;
};

/** As lmdb-js has it: of the kernel's id, what comes before the first dash. */
function bootId(): number {
  try {
    return Number.parseInt(readFileSync("/proc/sys/kernel/random/boot_id", "utf8"), 16);
  } catch {
    return 0;
  }
}

export class LmdbFile {
  readonly #path: string;
  readonly #fd: number;
  readonly #size: number;
  readonly #oneMeta: boolean;
  #tree: Meta;
  /**
   * The machine went down with commits that were not flushed: LMDB would go back to the last one
   * that was, though newer ones may be whole.
   */
  readonly rebooted: boolean;

  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, "r");
    this.#size = fstatSync(this.#fd).size;
    const metas = [0, PAGE_BYTES].map((at) => this.#meta(at, true)).filter((m) => m !== null);
    metas.sort((a, b) => b.txn - a.txn);
    if (metas.length === 0) {
      closeSync(this.#fd);
      throw new MilepostError("damaged", `${path}: no valid meta page`);
    }
    this.#oneMeta = metas.length === 1;
    this.#tree = metas[0];
    this.rebooted = metas[0].unflushed && metas[0].boot !== bootId();
    if (!this.rebooted) return;
    // the newest commits may not have reached the disk: the newest tree that is there
    const flushed = this.#meta(FLUSHED_META_AT, false);
    for (const meta of flushed === null ? metas : [...metas, flushed]) {
      this.#tree = meta;
      if (this.structureDamage() === null) return;
    }
  }

  /** Entries in order of their keys. What cannot be followed is told to `damaged` and left out. */
  *entries(damaged: (what: string) => void): Generator<FileEntry> {
    for (const { key, page, at, bytes, flags } of this.#nodes(damaged)) {
      const value = this.#value(page, at, bytes, flags);
      if (value === null) damaged(`value of key ${key.toString("hex")}`);
      else yield { key, value };
    }
  }

  /** What is wrong with the tree, values not looked at; null when LMDB may follow it. */
  structureDamage(): string | null {
    const steps = this.checkStructure();
    let step = steps.next();
    while (step.done !== true) step = steps.next();
    return step.value;
  }

  /** The same in steps: a tree of small values is as large as its file. */
  *checkStructure(): Generator<void, string | null> {
    let first: string | null = null;
    let last: Buffer | null = null;
    for (const { key, page, at, bytes, flags } of this.#nodes((what) => (first ??= what))) {
      if (page !== last) yield;
      last = page;
      const inside =
        flags === BIG_DATA && at + 8 <= page.byteLength
          ? Number(page.readBigUInt64LE(at)) * PAGE_BYTES + HEAD_BYTES + bytes <= this.#size
          : flags === 0 && at + bytes <= page.byteLength;
      if (!inside) first ??= `value of key ${key.toString("hex")}`;
    }
    return first;
  }

  *#nodes(damaged: (what: string) => void): Generator<LeafNode> {
    // the other one may have been the newer: its last commit is out of reach then
    if (this.#oneMeta) damaged("a meta page");
    if (this.#tree.root < NO_PAGE) yield* this.#page(this.#tree.root, 0, damaged);
  }

  /**
   * Whether LMDB may write to the file: by txn, lists of pages free for use, each a count and
   * then numbers; a negative one is the length of the run that follows.
   */
  freeListDamage(): string | null {
    const { free, lastPage } = this.#tree;
    let first: string | null = null;
    if (free >= NO_PAGE) return null;
    for (const node of this.#page(free, 0, (what) => (first ??= what))) {
      const list = this.#value(node.page, node.at, node.bytes, node.flags);
      const room = list === null ? 0 : list.byteLength >> 3;
      const count = list === null || room === 0 ? Infinity : Number(list.readBigUInt64LE(0));
      let whole = node.key.byteLength === 8 && count < room;
      for (let i = 1; whole && list !== null && i <= count; i++) {
        whole = Math.abs(Number(list.readBigInt64LE(i * 8))) <= lastPage;
      }
      if (!whole) first ??= `list of free pages ${node.key.toString("hex")}`;
    }
    return first;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #meta(at: number, marked: boolean): Meta | null {
    const b = this.#read(at, META_BYTES);
    if (b === null || (marked && b.readUInt32LE(24) !== MAGIC)) return null;
    if (marked && b.readUInt32LE(28) !== DATA_FORMAT) {
      throw new MilepostError("newer_format", `${this.#path}: LMDB data format`);
    }
    if (b.readUInt32LE(48) !== PAGE_BYTES) return null;
    return {
      unflushed: (b.readUInt16LE(52) & OVERLAPPING_SYNC) !== 0,
      free: Number(b.readBigUInt64LE(88)),
      root: Number(b.readBigUInt64LE(136)),
      lastPage: Number(b.readBigUInt64LE(144)),
      txn: Number(b.readBigUInt64LE(152)),
      boot: Number(b.readBigInt64LE(160)),
    };
  }

  *#page(number: number, depth: number, damaged: (what: string) => void): Generator<LeafNode> {
    const page = this.#pageAt(number);
    const flags = page === null ? 0 : page.readUInt16LE(18);
    const nodes = page === null ? 0 : page.readUInt16LE(20) >> 1;
    const isBranch = flags === BRANCH;
    if (page === null || depth > DEPTH_MAX || !(isBranch || flags === LEAF)) {
      damaged(`page ${number}`);
      return;
    }
    if (HEAD_BYTES + nodes * 2 > page.byteLength) {
      damaged(`page ${number}`);
      return;
    }
    for (let i = 0; i < nodes; i++) {
      const node = HEAD_BYTES + page.readUInt16LE(HEAD_BYTES + i * 2);
      const keyEnd = node + NODE_BYTES <= page.byteLength ? node + NODE_BYTES : Infinity;
      const keyBytes = keyEnd === Infinity ? 0 : page.readUInt16LE(node + 6);
      if (keyEnd + keyBytes > page.byteLength) {
        damaged(`node ${i} of page ${number}`);
        continue;
      }
      const low = page.readUInt16LE(node) + page.readUInt16LE(node + 2) * 0x1_0000;
      const nodeFlags = page.readUInt16LE(node + 4);
      if (isBranch) {
        yield* this.#page(low + nodeFlags * NO_PAGE, depth + 1, damaged);
        continue;
      }
      const key = page.subarray(node + NODE_BYTES, keyEnd + keyBytes);
      yield { key, page, at: keyEnd + keyBytes, bytes: low, flags: nodeFlags };
    }
  }

  #value(page: Buffer, at: number, bytes: number, flags: number): Buffer | null {
    if (flags === 0) return at + bytes > page.byteLength ? null : page.subarray(at, at + bytes);
    if (flags !== BIG_DATA || at + 8 > page.byteLength) return null;
    const first = Number(page.readBigUInt64LE(at));
    const whole = this.#read(first * PAGE_BYTES, HEAD_BYTES + bytes);
    if (whole === null || Number(whole.readBigUInt64LE(0)) !== first) return null;
    const room = whole.readUInt32LE(20) * PAGE_BYTES;
    if (whole.readUInt16LE(18) !== OVERFLOW || whole.byteLength > room) return null;
    return whole.subarray(HEAD_BYTES);
  }

  #pageAt(number: number): Buffer | null {
    if (number > this.#tree.lastPage) return null;
    const page = this.#read(number * PAGE_BYTES, PAGE_BYTES);
    return page === null || Number(page.readBigUInt64LE(0)) !== number ? null : page;
  }

  #read(at: number, bytes: number): Buffer | null {
    if (at + bytes > this.#size) return null;
    const out = Buffer.allocUnsafe(bytes);
    return readSync(this.#fd, out, 0, bytes, at) === bytes ? out : null;
  }
}
