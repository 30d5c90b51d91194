/**
 * Static files as they are sent: read, stripped of types and compressed when they are first asked
 * for, and kept. There are a few dozen, some 3 MB when all are compressed.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { stripTypeScriptTypes } from "node:module";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { type HeaderFields } from "../lib/http-exchange.ts";
import { sendWhole } from "./send-whole.ts";
import { type StaticFile, staticFiles } from "./static-files.ts";
import type { RiderRequest } from "./rider-request.ts";

type Encoding = "br" | "gzip" | "";
/** `page`: fields that only a page needs. */
type Asset = { etag: string; type: string; page: HeaderFields; text: Buffer };

/** Finding out that it does not get smaller costs more than it saves. */
const COMPRESSED_BYTES_MIN = 1024;
/** Nine tenths of what the highest gives, in a twentieth of its time. */
const BROTLI_QUALITY = 6;

const brotli = promisify(brotliCompress);
const gzipped = promisify(gzip);

export class Assets {
  readonly #files = staticFiles();
  readonly #assets = new Map<string, Promise<Asset>>();
  readonly #encoded = new Map<string, Promise<Buffer>>();

  addresses(): Iterable<string> {
    return this.#files.keys();
  }

  async send({ exchange, head, header }: RiderRequest): Promise<void> {
    const file = this.#files.get(head.path) as StaticFile;
    const accepted = header("accept-encoding");
    const known = header("if-none-match");
    const asset = await this.#asset(head.path, file);
    const encoding = asset.text.byteLength < COMPRESSED_BYTES_MIN ? "" : chooseEncoding(accepted);
    const etag = `"${asset.etag}${encoding === "" ? "" : `-${encoding}`}"`;
    const headers: HeaderFields = [
      ["ETag", etag],
      // asked about each time: an update of the gateway shows at once
      ["Cache-Control", "no-cache"],
      ["Vary", "Accept-Encoding"],
    ];
    if (matches(known, etag)) return exchange.reply(304, "", headers);
    const body = await this.#body(head.path, asset, encoding);
    const type = ["Content-Type", asset.type] as const;
    const encoded = encoding === "" ? [] : ([["Content-Encoding", encoding]] as const);
    sendWhole(exchange, body, [...headers, type, ...encoded, ...asset.page]);
  }

  #asset(address: string, file: StaticFile): Promise<Asset> {
    let asset = this.#assets.get(address);
    if (asset === undefined) {
      asset = load(file);
      this.#assets.set(address, asset);
      // a file that is missing may be there later
      asset.catch(() => this.#assets.delete(address));
    }
    return asset;
  }

  #body(address: string, { text }: Asset, encoding: Encoding): Promise<Buffer> {
    if (encoding === "") return Promise.resolve(text);
    const key = `${encoding} ${address}`;
    let body = this.#encoded.get(key);
    if (body === undefined) {
      // in Node's own threads: riders are served meanwhile
      body = encoding === "gzip" ? gzipped(text) : brotli(text, { params: brotliParams(text) });
      this.#encoded.set(key, body);
    }
    return body;
  }
}

const brotliParams = (text: Buffer): Record<number, number> => ({
  [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY,
  [constants.BROTLI_PARAM_SIZE_HINT]: text.byteLength,
});

async function load({ path, type }: StaticFile): Promise<Asset> {
  const read = await readFile(path);
  const text = path.endsWith(".ts") ? Buffer.from(toJavaScript(read.toString())) : read;
  const etag = createHash("sha256").update(text).digest("base64url").slice(0, 22);
  return {
    etag,
    type,
    page: type.startsWith("text/html") ? pageHeaders(text.toString()) : [],
    text,
  };
}

/** Imports name the files as they are served. */
function toJavaScript(source: string): string {
  return withoutWarning(() => stripTypeScriptTypes(source)).replaceAll(
    /(\b(?:from|import)\s*\(?\s*"\.\.?\/[^"]+)\.ts"/g,
    '$1.js"',
  );
}

/** Node says once that this is experimental, to whoever reads the gateway's stderr. */
function withoutWarning<T>(run: () => T): T {
  const { emitWarning } = process;
  process.emitWarning = ((warning: string | Error, ...rest: []) => {
    if (!String(warning).includes("stripTypeScriptTypes")) emitWarning(warning, ...rest);
  }) as typeof process.emitWarning;
  try {
    return run();
  } finally {
    process.emitWarning = emitWarning;
  }
}

/** Scripts come from here alone; those within the page are named by what they say. */
function pageHeaders(html: string): HeaderFields {
  const inline = [...html.matchAll(/<script(?![^>]*\ssrc=)[^>]*>([^]*?)<\/script>/g)].map(
    ([, text]) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`,
  );
  const policy = [
    "default-src 'none'",
    `script-src ${["'self'", ...inline].join(" ")}`,
    "style-src 'self'",
    "img-src 'self' data: blob:",
    "font-src 'self'",
    "connect-src 'self'",
    // maplibre-gl starts its workers from blobs
    "worker-src 'self' blob:",
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'self'",
  ];
  return [["Content-Security-Policy", policy.join("; ")]];
}

/** The best of what is accepted [RFC 9110 §12.5.3]. */
function chooseEncoding(accepted: string): Encoding {
  const refused = /;\s*q=0(?:\.0*)?\s*$/;
  const names = accepted
    .toLowerCase()
    .split(",")
    .filter((part) => !refused.test(part))
    .map((part) => part.split(";", 1)[0].trim());
  if (names.includes("br")) return "br";
  return names.includes("gzip") ? "gzip" : "";
}

/** `If-None-Match` [RFC 9110 §13.1.2]. */
export function matches(field: string, etag: string): boolean {
  if (field === "") return false;
  return field.split(",").some((part) => {
    const tag = part.trim().replace(/^W\//, "");
    return tag === etag || tag === "*";
  });
}
