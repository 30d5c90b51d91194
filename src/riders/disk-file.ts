/**
 * A file of the data directory, as a whole or a range of it [RFC 9110 §14], read as the client
 * takes it: each holds one block.
 */
import { type FileHandle, open } from "node:fs/promises";
import type { Exchange, HeaderFields } from "../lib/http-exchange.ts";
import { limits } from "../model/limits.ts";
import { matches } from "./assets.ts";
import type { RiderRequest } from "./rider-request.ts";

const BLOCK_BYTES = 64 * 1024;

/** First and last byte. */
type Range = { first: number; last: number };

export class DiskFiles {
  #open = 0;

  /** `otherwise`: what is there when the file is not; null: 404. */
  async send(
    { exchange, header }: RiderRequest,
    path: string,
    type: string,
    otherwise: string | null,
  ): Promise<void> {
    const asked = header("range");
    const known = header("if-none-match");
    const ifRange = header("if-range");
    if (this.#open >= limits.diskFilesAtOnce) {
      return exchange.error(503, "busy", "too many are reading", [["Retry-After", "1"]]);
    }
    this.#open++;
    let file: FileHandle | null = null;
    try {
      file = await open(path).catch(() => null);
      const stat = await file?.stat();
      if (file === null || stat === undefined || !stat.isFile()) {
        if (otherwise === null) return exchange.error(404, "not_found", "there is no such file");
        return exchange.reply(200, otherwise, [["Content-Type", type]]);
      }
      const etag = `"${stat.mtimeMs.toString(36)}-${stat.size.toString(36)}"`;
      const fields: HeaderFields = [
        ["ETag", etag],
        ["Cache-Control", "no-cache"],
        ["Accept-Ranges", "bytes"],
      ];
      if (matches(known, etag)) return exchange.reply(304, "", fields);
      const isCurrent = ifRange === "" || ifRange === etag;
      const range = isCurrent ? parseRange(asked, stat.size) : null;
      const withType: HeaderFields = [...fields, ["Content-Type", type]];
      if (range === "unsatisfiable") {
        const size = [["Content-Range", `bytes */${stat.size}`]] as const;
        return exchange.error(416, "bad_range", "the file ends before", [...fields, ...size]);
      }
      if (range === null) {
        return await stream(exchange, file, 200, withType, { first: 0, last: stat.size - 1 });
      }
      const part = `bytes ${range.first}-${range.last}/${stat.size}`;
      await stream(exchange, file, 206, [...withType, ["Content-Range", part]], range);
    } finally {
      this.#open--;
      await file?.close();
    }
  }
}

/** Null: none, or one that may be passed over: the whole file is sent [RFC 9110 §14.2]. */
export function parseRange(field: string, size: number): Range | "unsatisfiable" | null {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/i.exec(field.trim());
  if (match === null || (match[1] === "" && match[2] === "")) return null;
  if (match[1] === "") {
    const length = Math.min(size, Number(match[2]));
    return length === 0 ? "unsatisfiable" : { first: size - length, last: size - 1 };
  }
  const first = Number(match[1]);
  const last = match[2] === "" ? size - 1 : Math.min(size - 1, Number(match[2]));
  if (match[2] !== "" && Number(match[2]) < first) return null;
  return first >= size ? "unsatisfiable" : { first, last };
}

/** Resolves when the client has it, or is gone. */
async function stream(
  exchange: Exchange,
  file: FileHandle,
  status: number,
  headers: HeaderFields,
  { first, last }: Range,
): Promise<void> {
  const length = last - first + 1;
  if (length === 0) return exchange.reply(status, "", headers);
  if (exchange.isHead) return exchange.replyHead(status, length, headers);
  let wake: () => void = () => {};
  let isGone = false;
  const res = exchange.begin(status, headers, () => {
    isGone = true;
    wake();
  });
  if (res === null) return;
  const block = Buffer.allocUnsafe(Math.min(BLOCK_BYTES, length));
  let sent = 0;
  while (sent < length && !isGone) {
    const { bytesRead } = await file.read(
      block,
      0,
      Math.min(block.length, length - sent),
      first + sent,
    );
    if (isGone) return;
    // somebody has cut the file: what was promised cannot be sent
    if (bytesRead === 0) return exchange.abort();
    const start = sent;
    await new Promise<void>((resolve) => {
      wake = resolve;
      const push = (offset: number): boolean => {
        // told once more after the last bytes of the block were taken
        if (offset >= start + bytesRead) return true;
        const part = block.subarray(offset - start, bytesRead);
        const [isTaken, isDone] = res.tryEnd(part, length);
        if (isDone) exchange.ended(status);
        if (isTaken || isDone) resolve();
        return isTaken;
      };
      res.onWritable(push);
      res.cork(() => void push(start));
    });
    sent += bytesRead;
  }
}
