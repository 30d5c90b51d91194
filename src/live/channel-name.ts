/** Channels that riders may follow, by name. */
import { isDriverId } from "../codec/rewrite.ts";
import { limits } from "../model/limits.ts";
import { type Area, BoxArea, CellArea, getResolution, isValidCell } from "./area.ts";

export type ChannelSpec =
  | { kind: "driver"; name: string; id: string }
  | { kind: "trip"; name: string; trip: string }
  | { kind: "cell" | "bbox"; name: string; area: Area };
export type ChannelKind = ChannelSpec["kind"];

/** `unknown`: no such kind of channel; `malformed`: not a driver, cell or box. */
export type ChannelFault = "unknown" | "malformed";

const RESOLUTION_MIN = 4;
const RESOLUTION_MAX = 9;
const number = "-?\\d{1,3}(?:\\.\\d{1,15})?";
const boxPattern = new RegExp(`^${Array.from({ length: 4 }, () => `(${number})`).join(",")}$`);

export function parseChannel(name: string): ChannelSpec | ChannelFault {
  const colon = name.indexOf(":");
  const kind = name.slice(0, Math.max(0, colon));
  const what = name.slice(colon + 1);
  if (kind === "driver") return isDriverId(what) ? { kind, name, id: what } : "malformed";
  if (kind === "trip") return isTrip(what) ? { kind, name, trip: what } : "malformed";
  if (kind === "cell") {
    const area = parseCell(what, RESOLUTION_MIN, RESOLUTION_MAX);
    return area === null ? "malformed" : { kind, name, area };
  }
  if (kind === "bbox") {
    const area = parseBox(what);
    return area === null ? "malformed" : { kind, name, area };
  }
  return "unknown";
}

/** An H3 cell in lower-case hex; null when it is none of these resolutions. */
export function parseCell(text: string, min: number, max: number): CellArea | null {
  if (!/^[0-9a-f]{15}$/.test(text) || !isValidCell(text)) return null;
  const resolution = getResolution(text);
  return resolution < min || resolution > max ? null : new CellArea(text);
}

/** `west,south,east,north` in degrees; west of the antimeridian to east of it is fine. */
export function parseBox(text: string): BoxArea | null {
  const match = boxPattern.exec(text);
  if (match === null) return null;
  const [west, south, east, north] = match.slice(1).map(Number);
  const isOnEarth = Math.abs(west) <= 180 && Math.abs(east) <= 180 && south >= -90 && north <= 90;
  return isOnEarth && south < north && west !== east
    ? new BoxArea({ west, south, east, north })
    : null;
}

function isTrip(text: string): boolean {
  return text !== "" && text.isWellFormed() && Buffer.byteLength(text) <= limits.tripIdBytesMax;
}
