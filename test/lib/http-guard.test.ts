import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseQuery } from "../../src/lib/http-guard.ts";
import {
  openDevicePort,
  RawConnection,
  upgradeRequest,
  type DevicePort,
} from "../listeners/device-port.ts";

let gateway: DevicePort;
beforeEach(async () => {
  gateway = await openDevicePort();
});
afterEach(() => gateway.close());

const post = "POST /v1/ingest HTTP/1.1\r\nHost: a\r\n";
const smuggled = "POST /v1/ingest?driver=evil HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n[]";
const chunked = "3\r\n[] \r\n0\r\n\r\n";

/** Head fields, body: each is answered 400 and the connection closed. */
const rows: [string, string, string][] = [
  ["the same length twice", "Content-Length: 2\r\nContent-Length: 2", "[]"],
  ["two lengths", `Content-Length: 2\r\nContent-Length: ${2 + smuggled.length}`, "[]"],
  ["a list of lengths", "Content-Length: 2, 2", "[]"],
  ["a negative length", "Content-Length: -2", "[]"],
  ["a length with a sign", "Content-Length: +2", "[]"],
  ["a hexadecimal length", "Content-Length: 0x2", "[]"],
  ["an empty length", "Content-Length: ", "[]"],
  ["a length above 2^64", "Content-Length: 99999999999999999999999", "[]"],
  ["length, then encoding", "Content-Length: 2\r\nTransfer-Encoding: chunked", chunked],
  ["encoding, then length", "Transfer-Encoding: chunked\r\nContent-Length: 2", chunked],
  ["chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", chunked],
  ["gzip", "Transfer-Encoding: gzip", chunked],
  ["gzip, chunked", "Transfer-Encoding: gzip, chunked", chunked],
  ["chunked, identity", "Transfer-Encoding: chunked, identity", chunked],
  ["xchunked", "Transfer-Encoding: xchunked", chunked],
  ["a space before the colon", "Transfer-Encoding : chunked", chunked],
  ["a folded field", "Transfer-Encoding:\r\n chunked", chunked],
  ["a vertical tab", "Transfer-Encoding: \x0bchunked", chunked],
  ["a chunk size above 2^64", "Transfer-Encoding: chunked", "FFFFFFFFFFFFFFFFF\r\n[]\r\n0\r\n\r\n"],
  ["a negative chunk size", "Transfer-Encoding: chunked", "-2\r\n[]\r\n0\r\n\r\n"],
];

describe("a request that two readers would frame differently", () => {
  it.each(rows)("%s: 400 and close, and nothing is stored", async (_, fields, body) => {
    const connection = await RawConnection.open(gateway.port);
    connection.send(`${post}${fields}\r\n\r\n${body}`);
    const answer = await connection.closed();
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer.match(/HTTP\/1\.1 /g)?.length).toBe(1);
    expect(gateway.intake.taken).toEqual([]);
  });

  it.each(rows)("%s: what is smuggled behind it is never run", async (_, fields, body) => {
    const connection = await RawConnection.open(gateway.port);
    connection.send(`${post}${fields}\r\n\r\n${body}${smuggled}`);
    await connection.closed();
    expect(gateway.intake.taken).toEqual([]);
  });

  it("closes after every chunked body: uWS takes an empty chunk size for the end", async () => {
    const head = `${post}Transfer-Encoding: chunked\r\n\r\n`;
    const honest = await RawConnection.open(gateway.port);
    honest.send(head + chunked);
    expect(await honest.closed()).toMatch(/^HTTP\/1\.1 200 /);
    const alone = await RawConnection.open(gateway.port);
    alone.send(`${head}\r\n`);
    await alone.closed();
    const piped = await RawConnection.open(gateway.port);
    piped.send(`${head}\r\n\r\n${smuggled}`);
    await piped.closed();
    const unknown = await RawConnection.open(gateway.port);
    const lost = head.replace("/v1/ingest", "/nowhere");
    unknown.send(`${lost}\r\n\r\n${smuggled}`);
    await unknown.closed();
    expect(gateway.intake.taken.map((taken) => taken.source.driver)).not.toContain("evil");
  });

  it("is refused as an upgrade, too", async () => {
    for (const path of ["/v1/ingest", "/mqtt"]) {
      for (const extra of ["Content-Length: 5", "Transfer-Encoding: x", "Content-Length: +0"]) {
        const connection = await RawConnection.open(gateway.port);
        connection.send(upgradeRequest(path, `${extra}\r\nSec-WebSocket-Protocol: mqtt\r\n`));
        expect(await connection.closed(), extra).toMatch(/^HTTP\/1\.1 400 /);
      }
    }
  });
});

describe("well-framed requests", () => {
  it("takes chunked bodies, whatever the case of the word", async () => {
    for (const word of ["chunked", "Chunked"]) {
      const connection = await RawConnection.open(gateway.port);
      connection.send(`${post}Transfer-Encoding: ${word}\r\n\r\n${chunked}`);
      expect(await connection.until((text) => text.includes("}"))).toMatch(/^HTTP\/1\.1 200 /);
      connection.destroy();
    }
  });

  it("takes requests one after the other on a connection, heads split anywhere", async () => {
    const connection = await RawConnection.open(gateway.port);
    const request = `${post}Content-Length: 2\r\n\r\n[]`;
    for (let cut = 1; cut < request.length; cut += 7) {
      connection.clear();
      connection.send(request.slice(0, cut));
      await new Promise((resolve) => setImmediate(resolve));
      connection.send(request.slice(cut));
      expect(await connection.until((text) => text.includes("}"))).toContain("HTTP/1.1 200 ");
    }
    connection.destroy();
  });

  it("closes on a request that does not wait for an answer still to come", async () => {
    gateway.intake.holding = true;
    const connection = await RawConnection.open(gateway.port);
    connection.send(`${post}Content-Length: 2\r\n\r\n[]${post}Content-Length: 3\r\n\r\n[ ]`);
    expect(await connection.closed()).toBe("");
    expect(gateway.intake.taken.length).toBe(1);
    gateway.intake.letGo(1);
  });

  it("answers pipelined requests that need no waiting", async () => {
    const connection = await RawConnection.open(gateway.port);
    const get = "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n";
    connection.send(get.repeat(20));
    await connection.until((text) => text.split("HTTP/1.1 404 ").length === 21);
    connection.destroy();
  });
});

describe("heads", () => {
  it("bounds them in bytes and fields", async () => {
    for (const fields of [`X: ${"a".repeat(8192)}\r\n`, "X: a\r\n".repeat(200)]) {
      const connection = await RawConnection.open(gateway.port);
      connection.send(`${post}${fields}\r\n`);
      expect(await connection.closed()).toMatch(/^HTTP\/1\.1 431 /);
    }
  });

  it("closes on what is no HTTP", async () => {
    const lines = [
      "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
      "\x10\x13\x00\x04MQTT\x04\x02\x00\x3c\x00\x07clientA\r\n\r\n",
      "GET /v1/ingest HTTP/1.0\r\n\r\n",
      "GET /v1/ingest\nHost: a\n\n",
      "GET /v1/ingest HTTP/1.1\r\n\r\n",
    ];
    for (const line of lines) {
      const connection = await RawConnection.open(gateway.port);
      connection.send(line);
      expect(await connection.closed()).not.toContain(" 200 ");
    }
    expect(gateway.intake.taken).toEqual([]);
  });
});

describe("parseQuery", () => {
  it("decodes as a form does", () => {
    expect([...parseQuery("a=1+2&b=%E2%82%AC%2B&c&&=x&a=3")!]).toEqual([
      ["a", "3"],
      ["b", "€+"],
      ["c", ""],
      ["", "x"],
    ]);
    expect(parseQuery("")?.size).toBe(0);
    for (const bad of ["a=%", "a=%z1", "%=1", "a=%ff", "a=%ed%a0%80"]) {
      expect(parseQuery(bad), bad).toBe(null);
    }
  });
});
