import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Gateway, startGateway } from "../harness/gateway.ts";
import { urlOf } from "./fleet.ts";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await startGateway();
});
afterAll(async () => {
  await gateway?.stop();
});

type Fields = Record<string, string>;
const ask = (path: string, headers: Fields = {}, method = "GET"): Promise<Response> =>
  fetch(urlOf(gateway, path), { method, headers });
const bytesOf = async (answer: Response): Promise<Buffer> =>
  Buffer.from(await answer.arrayBuffer());
const root = join(import.meta.dirname, "../..");

/** An answer as it came, not decompressed. */
async function rawBody(path: string, fields: string): Promise<{ head: string; body: Buffer }> {
  const socket = net.connect(gateway.ports.http, "127.0.0.1");
  await once(socket, "connect");
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n${fields}\r\n`);
  let all = Buffer.alloc(0);
  for await (const chunk of socket) {
    all = Buffer.concat([all, chunk as Buffer]);
    const end = all.indexOf("\r\n\r\n");
    const length = Number(/content-length: (\d+)/i.exec(all.toString("latin1"))?.[1] ?? Infinity);
    if (end > 0 && all.byteLength >= end + 4 + length) break;
  }
  const end = all.indexOf("\r\n\r\n");
  return { head: all.toString("latin1", 0, end), body: all.subarray(end + 4) };
}

describe("the map", () => {
  it("is a page whose scripts come from the gateway alone", async () => {
    const answer = await ask("/");
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/html; charset=utf-8");
    const policy = answer.headers.get("content-security-policy") ?? "";
    expect(policy).not.toContain("unsafe");
    const page = await answer.text();
    for (const [, inline] of page.matchAll(/<script(?![^>]*\ssrc=)[^>]*>([^]*?)<\/script>/g)) {
      expect(policy).toContain(createHash("sha256").update(inline).digest("base64"));
    }
    // everything it names is there, with a type that browsers take
    for (const [, address] of page.matchAll(/(?:src|href)="(\/[^"]+)"|": "(\/lib\/[^"]+)"/g)) {
      if (address === undefined) continue;
      const { status, headers } = await ask(address);
      expect([address, status]).toEqual([address, 200]);
      if (/\.m?js$/.test(address)) expect(headers.get("content-type")).toMatch(/^text\/javascript/);
    }
  });

  it("is served as JavaScript, and its imports name what is served", async () => {
    const seen = new Set<string>();
    const follow = async (path: string): Promise<void> => {
      if (seen.has(path)) return;
      seen.add(path);
      const answer = await ask(path);
      expect([path, answer.status]).toEqual([path, 200]);
      const script = await answer.text();
      expect(script).not.toMatch(/^import type|^export type|^interface /m);
      for (const [, target] of script.matchAll(/from\s*"(\.\/[^"]+)"/g)) {
        await follow(new URL(target, `http://a${path}`).pathname);
      }
    };
    await follow("/map/main.js");
    expect(seen.size).toBeGreaterThan(3);
    expect(gateway.stderr()).not.toContain("ExperimentalWarning");
  });

  it.each(["/map/main.ts", "/map/tsconfig.json", "/map/globals.d.ts", "/map/", "/lib/", "/lib"])(
    "%s is not",
    async (path) => {
      expect((await ask(path)).status).toBe(404);
    },
  );

  it("comes compressed as the client can, and the same", async () => {
    const path = "/lib/maplibre-gl.mjs";
    const file = readFileSync(join(root, "node_modules/maplibre-gl/dist/maplibre-gl.mjs"));
    const plain = await rawBody(path, "");
    expect(plain.body.equals(file)).toBe(true);
    const zipped = await rawBody(path, "Accept-Encoding: gzip, br;q=0\r\n");
    expect(zipped.head).toMatch(/^Content-Encoding: gzip$/im);
    expect(gunzipSync(zipped.body).equals(file)).toBe(true);
    const smallest = await rawBody(path, "Accept-Encoding: gzip, deflate, br\r\n");
    expect(smallest.head).toMatch(/^Content-Encoding: br$/im);
    expect(brotliDecompressSync(smallest.body).equals(file)).toBe(true);
    expect(smallest.body.byteLength).toBeLessThan(zipped.body.byteLength);
  });

  it("is not sent again to who has it", async () => {
    const first = await ask("/map/map.css");
    const etag = first.headers.get("etag") ?? "";
    const second = await ask("/map/map.css", { "if-none-match": `"other", W/${etag}` });
    expect([second.status, (await bytesOf(second)).length]).toEqual([304, 0]);
    expect((await ask("/map/map.css", { "if-none-match": '"other"' })).status).toBe(200);
  });

  it("HEAD tells the length", async () => {
    const { status, headers } = await ask("/lib/maplibre-gl.mjs", {}, "HEAD");
    expect(status).toBe(200);
    expect(Number(headers.get("content-length"))).toBeGreaterThan(100_000);
  });
});

describe("a file of the data directory", () => {
  const path = "/map/basemap.pmtiles";
  const file = randomBytes(3_000_000);

  it("is not there unless an operator put it there", async () => {
    expect((await ask(path)).status).toBe(404);
    const streets = await ask("/map/basemap.geojson");
    expect(await streets.json()).toEqual({ type: "FeatureCollection", features: [] });
    writeFileSync(join(gateway.dataDir, "basemap.pmtiles"), file);
  });

  it("comes whole, and its length to a HEAD", async () => {
    const whole = await ask(path);
    expect([whole.status, whole.headers.get("accept-ranges")]).toEqual([200, "bytes"]);
    expect((await bytesOf(whole)).equals(file)).toBe(true);
    expect((await ask(path, {}, "HEAD")).headers.get("content-length")).toBe("3000000");
  });

  it.each([
    ["bytes=0-0", 0, 1],
    ["bytes=0-16383", 0, 16_384],
    ["bytes=100000-299999", 100_000, 300_000],
    ["bytes=2999999-", 2_999_999, 3_000_000],
    ["bytes=-5", 2_999_995, 3_000_000],
    ["bytes=-99999999", 0, 3_000_000],
    ["bytes=2999990-99999999999", 2_999_990, 3_000_000],
  ])("%s", async (range, from, to) => {
    const answer = await ask(path, { range });
    expect(answer.status).toBe(206);
    expect(answer.headers.get("content-range")).toBe(`bytes ${from}-${to - 1}/3000000`);
    expect((await bytesOf(answer)).equals(file.subarray(from, to))).toBe(true);
  });

  it.each(["bytes=3000000-", "bytes=3000000-3000001", "bytes=-0"])("%s: 416", async (range) => {
    const answer = await ask(path, { range });
    expect([answer.status, answer.headers.get("content-range")]).toEqual([416, "bytes */3000000"]);
  });

  it.each([
    "bytes=5-2",
    "bytes=a-b",
    "bytes=-",
    "bytes=0-1,5-6",
    `bytes=${Array.from({ length: 300 }, () => "0-").join(",")}`,
    "lines=0-1",
    "bytes=0x0-0x5",
    "bytes=99999999999999999999-",
  ])("%s is passed over", async (range) => {
    const answer = await ask(path, { range });
    expect(answer.status).toBe(200);
    await answer.body?.cancel();
  });

  it("a range of another version is not mixed with this one", async () => {
    const etag = (await ask(path, {}, "HEAD")).headers.get("etag") ?? "";
    const same = await ask(path, { range: "bytes=0-9", "if-range": etag });
    expect(same.status).toBe(206);
    const other = await ask(path, { range: "bytes=0-9", "if-range": '"older"' });
    expect(other.status).toBe(200);
    await other.body?.cancel();
  });
});
