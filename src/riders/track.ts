/**
 * Where a driver has been: its pings in the log with fix times of a span, through the log's index
 * of keys, as fast as the client takes them and no faster.
 */
import { setImmediate as turn } from "node:timers/promises";
import { isControl } from "../batch/header.ts";
import { RecordCursor } from "../batch/records.ts";
import { clampedFromMs } from "../codec/fields.ts";
import type { Exchange } from "../lib/http-exchange.ts";
import { HttpStream, SURE_BYTES } from "../lib/http-stream.ts";
import { NO_ROW } from "../live/drivers.ts";
import { LivePing } from "../live/live-ping.ts";
import type { Live } from "../live/live.ts";
import { isKey } from "../live/positions.ts";
import { MilepostError } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import { choiceOf, refuseUnknown, timeOf } from "./parameters.ts";
import { checkedId } from "./rest.ts";
import { BadRequest, type RiderRequest } from "./rider-request.ts";

const HOUR_MS = 3_600_000;
/** Of the log, at once. */
const READ_BYTES = 256 * 1024;
/** Looking through what was read holds up other riders by so much. */
const STEP_MS = 4;
const PIECE_CHARS = 2 * SURE_BYTES;

/** `from`, `to`: of fix times, both among them. */
type Asked = { id: string; partition: number; from: number; to: number };
type Take = (ping: LivePing) => void;

export class Tracks {
  readonly #live: Live;
  readonly #byAddress = new Map<string, number>();
  #open = 0;

  constructor(live: Live) {
    this.#live = live;
  }

  /** `GET /v1/drivers/{id}/track` */
  async send({ exchange, params, id }: RiderRequest): Promise<void> {
    refuseUnknown(params, ["from", "to", "format"]);
    const format = choiceOf(params, "format", ["geojson", "ndjson"]);
    const to = timeOf(params, "to", this.#live.now());
    const from = timeOf(params, "from", to - HOUR_MS);
    if (from > to) throw new BadRequest("bad_parameter", "from is later than to");
    if (to - from > limits.trackMsMax) {
      throw new BadRequest("bad_parameter", "from and to are more than 24 h apart");
    }
    const row = this.#live.drivers.findId(checkedId(id));
    if (row === NO_ROW) return exchange.error(404, "not_found", "this driver was never seen");
    const asked = { id, partition: this.#live.partitionOf(id, row), from, to };
    await this.#counted(exchange, async () => {
      if (exchange.isHead) return exchange.reply(200, "", [["Content-Type", types[format]]]);
      if (format === "ndjson") await this.#lines(exchange, asked);
      else await this.#feature(exchange, asked);
    });
  }

  async #counted(exchange: Exchange, run: () => Promise<void>): Promise<void> {
    const address = exchange.address();
    const open = this.#byAddress.get(address) ?? 0;
    if (open >= limits.tracksPerAddressMax) {
      const message = `this address is reading ${open} tracks already`;
      return exchange.error(429, "too_many_tracks", message, [["Retry-After", "1"]]);
    }
    if (this.#open >= limits.tracksAtOnce) {
      return exchange.error(503, "busy", "too many tracks are being read", [["Retry-After", "2"]]);
    }
    this.#open++;
    this.#byAddress.set(address, open + 1);
    try {
      await run();
    } catch (error) {
      // the log was deleted, or stops, or is damaged there, or is a cluster that is away
      const isOurs = error instanceof MilepostError;
      if (!isOurs && !(error instanceof BadRequest && exchange.hasBegun)) throw error;
      if (exchange.hasBegun) exchange.abort();
      else exchange.error(503, error.code, error.message, [["Retry-After", "5"]]);
    } finally {
      this.#open--;
      const left = (this.#byAddress.get(address) ?? 1) - 1;
      if (left === 0) this.#byAddress.delete(address);
      else this.#byAddress.set(address, left);
    }
  }

  async #lines(exchange: Exchange, asked: Asked): Promise<void> {
    let stream: HttpStream | null = null;
    let lines = "";
    const flush = async (): Promise<void> => {
      stream ??= new HttpStream(exchange, [["Content-Type", types.ndjson]], " ");
      stream.write(lines);
      lines = "";
      await stream.ready();
    };
    const take: Take = (ping) => {
      lines += `${ping.json()},"received":${ping.received},"offset":${ping.offset}}\n`;
    };
    await this.#read(exchange, asked, take, async () => {
      if (lines.length >= PIECE_CHARS) await flush();
    });
    await flush();
    (stream as HttpStream | null)?.end();
  }

  async #feature(exchange: Exchange, asked: Asked): Promise<void> {
    // held until the end: times come after coordinates
    const fixes: number[] = [];
    const take: Take = ({ lon, lat, ts }) => void fixes.push(lon, lat, ts);
    const isTooMuch = (): boolean => fixes.length > 3 * limits.trackFixesMax;
    await this.#read(exchange, asked, take, () => undefined, isTooMuch);
    if (exchange.over) return;
    if (isTooMuch()) {
      const message = `more than ${limits.trackFixesMax} fixes: ask for less time, or for ndjson`;
      return exchange.error(400, "too_many_fixes", message);
    }
    const stream = new HttpStream(exchange, [["Content-Type", types.geojson]], " ");
    for (const piece of featureOf(asked.id, fixes)) {
      stream.write(piece);
      await stream.ready();
      if (stream.isOver) return;
    }
    stream.end();
  }

  /** Each ping of the span to `take`, in the order of the log; `rest` now and then between. */
  async #read(
    exchange: Exchange,
    { id, partition, from, to }: Asked,
    take: Take,
    rest: () => Promise<void> | undefined,
    isEnough: () => boolean = () => false,
  ): Promise<void> {
    const { positions, now } = this.#live;
    const { highWatermark } = await positions.bounds(partition);
    // a clock may be fast by so much before the gateway's own time counts; what comes late is
    // behind what was in time, however late
    const since = Math.max(0, from - clampedFromMs);
    let next = await positions.firstSince(partition, since);
    if (positions.isScanned && next !== null) refuseIfMany(highWatermark - next);
    let bytes = 0;
    const key = Buffer.from(id);
    const ping = new LivePing();
    while (next !== null && next < highWatermark && !exchange.over) {
      const { batches, next: after } = await this.#batches(partition, key, next, highWatermark);
      let until = performance.now() + STEP_MS;
      for (const batch of batches) {
        bytes += batch.byteLength;
        if (positions.isScanned && bytes > limits.trackScanBytesMax) throw tooMuch();
        this.#look(batch, { from: next, to: highWatermark }, (cursor) => {
          if (!isKey(cursor, key) || !ping.read(cursor, now())) return;
          if (ping.ts >= from && ping.ts <= to) take(ping);
        });
        await rest();
        if (exchange.over || isEnough()) return;
        if (performance.now() < until) continue;
        await turn();
        until = performance.now() + STEP_MS;
      }
      next = Math.max(after, next + 1);
    }
  }

  /** The records of a batch with these offsets. */
  #look(batch: Uint8Array, offsets: { from: number; to: number }, see: (r: RecordCursor) => void) {
    if (isControl(batch)) return;
    const cursor = new RecordCursor();
    try {
      cursor.open(batch);
      while (cursor.next()) {
        if (cursor.offset >= offsets.from && cursor.offset < offsets.to) see(cursor);
      }
    } catch (error) {
      // what a producer called compressed, and is not
      if (!(error instanceof MilepostError)) throw error;
    }
  }

  async #batches(partition: number, key: Buffer, from: number, to: number) {
    const { positions } = this.#live;
    try {
      return await positions.batches(partition, key, from, to, READ_BYTES);
    } catch (error) {
      if (!(error instanceof MilepostError) || error.code !== "offset_out_of_range") throw error;
      // retention was faster
      const { start } = await positions.bounds(partition);
      return { batches: [], next: Math.max(start, from + 1) };
    }
  }
}

/** Where every record has to be looked at, of all drivers, up to now. */
function refuseIfMany(records: number): void {
  if (records > limits.trackScanRecordsMax) throw tooMuch();
}

const tooMuch = (): BadRequest =>
  new BadRequest(
    "too_much_to_read",
    "too many pings of all drivers lie between from and now: ask for a later from, or ask the " +
      "database that a sink writes to",
  );

const types = { geojson: "application/geo+json", ndjson: "application/x-ndjson" };

/** `fixes`: lon, lat and time, one behind the other. */
function* featureOf(id: string, fixes: number[]): Generator<string> {
  let text = `{"type":"Feature","id":${JSON.stringify(id)},"geometry":{"type":"LineString",`;
  text += '"coordinates":[';
  for (let i = 0; i < fixes.length; i += 3) {
    text += `${i > 0 ? "," : ""}[${fixes[i]},${fixes[i + 1]}]`;
    if (text.length < PIECE_CHARS) continue;
    yield text;
    text = "";
  }
  text += ']},"properties":{"times":[';
  for (let i = 2; i < fixes.length; i += 3) {
    text += `${i > 2 ? "," : ""}${fixes[i]}`;
    if (text.length < PIECE_CHARS) continue;
    yield text;
    text = "";
  }
  yield `${text}]}}`;
}
