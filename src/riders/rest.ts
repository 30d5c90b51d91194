/** Where drivers are now: one by its id, or those near a point, in a box, in a cell. */
import { isDriverId } from "../codec/rewrite.ts";
import { type Area, BoxArea } from "../live/area.ts";
import { parseCell } from "../live/channel-name.ts";
import { NO_ROW, STALE } from "../live/drivers.ts";
import type { Live } from "../live/live.ts";
import { limits } from "../model/limits.ts";
import { FeatureWriter } from "./features.ts";
import { choiceOf, integerOf, numberOf, numbersOf } from "./parameters.ts";
import { pointOf, quoted, refuseUnknown } from "./parameters.ts";
import { BadRequest, type RiderRequest } from "./rider-request.ts";

const geoJson = [["Content-Type", "application/geo+json"]] as const;
const known = ["near", "radius", "bbox", "cell", "limit", "stale"];

type Params = ReadonlyMap<string, string>;

export class Rest {
  readonly #live: Live;
  readonly #features: FeatureWriter;

  constructor(live: Live) {
    this.#live = live;
    this.#features = new FeatureWriter(live.drivers);
  }

  /** `GET /v1/drivers/{id}` */
  driver({ exchange, params, id }: RiderRequest): void {
    refuseUnknown(params, []);
    const row = this.#live.drivers.findId(checkedId(id));
    if (row === NO_ROW) return exchange.error(404, "not_found", "this driver was never seen");
    exchange.reply(200, this.#features.one(row), geoJson);
  }

  /** `GET /v1/drivers?…` */
  drivers({ exchange, params }: RiderRequest): void {
    refuseUnknown(params, known);
    const limit = integerOf(params, "limit", { min: 1, max: limits.queriedMax, default: 20 });
    const withStale = choiceOf(params, "stale", ["0", "1"]) === "1";
    const asked = ["near", "bbox", "cell"].filter((name) => params.has(name));
    if (asked.length !== 1) {
      throw new BadRequest("bad_parameter", "one of near, bbox and cell must be given");
    }
    if (asked[0] !== "near" && params.has("radius")) {
      throw new BadRequest("bad_parameter", "radius goes with near");
    }
    this.#features.begin();
    if (asked[0] === "near") this.#near(params, limit, withStale);
    else this.#within(areaOf(params), limit, withStale);
    exchange.reply(200, this.#features.end(), geoJson);
  }

  #near(params: Params, limit: number, withStale: boolean): void {
    const { lat, lon } = pointOf(params.get("near") ?? "", "near");
    const range = { min: 1, max: limits.nearMetresMax, default: limits.nearMetres };
    const radius = numberOf(params, "radius", range);
    const { drivers, index } = this.#live;
    const { flags } = drivers;
    const accept = (row: number): boolean => withStale || (flags[row] & STALE) === 0;
    for (const { row, metres } of index.near(lat, lon, radius, limit, accept)) {
      this.#features.add(row, metres);
    }
  }

  #within(area: Area, limit: number, withStale: boolean): void {
    const { drivers, index } = this.#live;
    const { flags } = drivers;
    let left = limit;
    index.within(area, (row) => {
      if (!withStale && (flags[row] & STALE) !== 0) return true;
      this.#features.add(row, -1);
      return --left > 0;
    });
  }
}

/** Decoded, of a path. */
export function checkedId(id: string): string {
  if (isDriverId(id)) return id;
  throw new BadRequest("bad_id", "not a driver id");
}

function areaOf(params: Params): Area {
  const bbox = params.get("bbox");
  if (bbox !== undefined) return boxOf(bbox);
  const cell = params.get("cell") ?? "";
  const area = parseCell(cell, 0, 15);
  if (area !== null) return area;
  throw new BadRequest("bad_parameter", `cell takes an H3 cell in lower case, not ${quoted(cell)}`);
}

/** `w,s,e,n` */
export function boxOf(text: string): BoxArea {
  const [west, south, east, north] = numbersOf(text, "bbox", 4, "west,south,east,north");
  const isOnEarth = Math.abs(west) <= 180 && Math.abs(east) <= 180 && south >= -90 && north <= 90;
  if (isOnEarth && south < north && west !== east) return new BoxArea({ west, south, east, north });
  throw new BadRequest("bad_parameter", `bbox is no box on earth: ${quoted(text)}`);
}
