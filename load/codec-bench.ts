/**
 * What one ping costs in the codec: `node load/codec-bench.ts`. The figure to reach is 0.35 us for
 * a canonical ping of about 110 B, validated and with its fields read. Best of several rounds, as
 * a busy machine only ever adds.
 */
import { BatchBuilder } from "../src/batch/builder.ts";
import { DriverMemory } from "../src/codec/driver-memory.ts";
import { Frame } from "../src/codec/frame.ts";
import { PingReader } from "../src/codec/ping.ts";
import { CellCache } from "../src/partitions/cell.ts";
import { murmur2 } from "../src/partitions/murmur2.ts";

const pings = 256;
const rounds = 40;
const roundPings = 40 * pings;
const now = 1_763_726_400_000;

const ping = (i: number): string =>
  `{"id":"driver-${1000 + i}","ts":${now - i * 7},"lat":${(12.9 + i / 1e4).toFixed(7)},` +
  `"lon":${(77.5 + i / 1e4).toFixed(7)},"speed":${(i % 30) + 0.5},"heading":${i},"seq":${i}}`;

function ranges(texts: string[]): { bytes: Buffer; at: Int32Array } {
  const at = new Int32Array(texts.length + 1);
  for (const [i, text] of texts.entries()) at[i + 1] = at[i] + text.length;
  return { bytes: Buffer.from(texts.join("")), at };
}

function measure(name: string, target: string, onePass: () => void): void {
  let best = Infinity;
  for (let round = 0; round < rounds; round++) {
    const begin = process.hrtime.bigint();
    for (let n = 0; n < roundPings; n += pings) onePass();
    best = Math.min(best, Number(process.hrtime.bigint() - begin) / roundPings);
  }
  console.log(`${name.padEnd(44)} ${best.toFixed(0).padStart(6)} ns  ${target}`);
}

const texts = Array.from({ length: pings }, (_, i) => ping(i));
const canonical = ranges(texts);
const spaced = ranges(texts.map((text) => JSON.stringify(JSON.parse(text), null, 1)));
const array = Buffer.from(`[${texts.join(",")}]`);
const reader = new PingReader();
const frame = new Frame();
const builder = new BatchBuilder();
const cells = new CellCache(6);
const identity = Buffer.from("driver-1000");
const memory = new DriverMemory();
const fleet = new DriverMemory();
let sink = 0;

function readAll(r: { bytes: Buffer; at: Int32Array }, drivers: DriverMemory | null): void {
  for (let i = 0; i < pings; i++) {
    if (!reader.read(r.bytes, r.at[i], r.at[i + 1], now, null, drivers)) throw reader.reason;
    sink += reader.lat;
  }
}

console.log(`ping of ${texts[9].length} B`);
measure("read, canonical", "(target 350)", () => readAll(canonical, null));
measure("read, canonical, jumps of 256 drivers", "(target 350)", () => readAll(canonical, fleet));
measure("read, canonical, one driver with identity", "(target 350)", () => {
  for (let i = 0; i < pings; i++) {
    if (!reader.read(canonical.bytes, 0, canonical.at[1], now, identity, memory)) throw reader;
  }
});
measure("read, with white space (slow way)", "", () => readAll(spaced, null));
measure("JSON.parse, to compare", "", () => {
  for (const text of texts) sink += JSON.parse(text).lat;
});
measure("frame of 256, split only, per ping", "", () => {
  sink += frame.split(array, 0, array.length, false) === null ? frame.count : 0;
});
measure("murmur2 of the key", "", () => {
  for (let i = 0; i < pings; i++) sink += murmur2(canonical.bytes, i, i + 11);
});
measure("H3 cell, cached", "", () => {
  for (let i = 0; i < pings; i++) sink += cells.cellOf(i * 7919, 12.9 + i / 1e6, 77.5).length;
});
measure("record into a batch", "(target 60)", () => {
  builder.reset();
  for (let i = 0; i < pings; i++) {
    const { bytes, at } = canonical;
    builder.append(bytes, at[i] + 7, at[i] + 18, bytes, at[i], at[i + 1], now + (i & 7), null);
  }
});
if (Number.isNaN(sink)) throw new Error("no pings were read");
