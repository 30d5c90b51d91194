/**
 * A marker between two fixes. It sets out from where it is seen, not from where it should be, and
 * arrives about when the next fix is due: so it never jumps, and is at most one fix behind.
 */
import type { Ping } from "./ping.ts";

export type Glide = {
  ping: Ping;
  fromLon: number;
  fromLat: number;
  fromHeading: number;
  heading: number;
  startMs: number;
  durationMs: number;
  /** Time between fixes as they arrive, smoothed. */
  everyMs: number;
};

const EVERY_MS = 1000;
const EVERY_MS_MIN = 200;
const EVERY_MS_MAX = 6000;
/** A fix farther away is not driven to: the map shows it there at once. */
const JUMP_DEGREES = 0.05;

export function firstSeen(ping: Ping, nowMs: number): Glide {
  const heading = ping.heading ?? 0;
  return {
    ping,
    fromLon: ping.lon,
    fromLat: ping.lat,
    fromHeading: heading,
    heading,
    startMs: nowMs,
    durationMs: 0,
    everyMs: EVERY_MS,
  };
}

/** False when the fix is not newer than what is shown. */
export function take(glide: Glide, ping: Ping, nowMs: number, smooth: boolean): boolean {
  const last = glide.ping;
  if (ping.late === true || fixOf(ping) <= fixOf(last)) return false;
  const part = progress(glide, nowMs);
  const far =
    Math.abs(ping.lat - last.lat) > JUMP_DEGREES || Math.abs(ping.lon - last.lon) > JUMP_DEGREES;
  const still = ping.lat === last.lat && ping.lon === last.lon;
  glide.fromLon += (last.lon - glide.fromLon) * part;
  glide.fromLat += (last.lat - glide.fromLat) * part;
  glide.fromHeading += turn(glide.fromHeading, glide.heading) * part;
  if (!still) glide.heading = ping.heading ?? bearing(last, ping);
  if (glide.durationMs > 0) {
    const every = Math.min(EVERY_MS_MAX, Math.max(EVERY_MS_MIN, nowMs - glide.startMs));
    glide.everyMs += (every - glide.everyMs) * 0.3;
  }
  if (far || !smooth) {
    glide.fromLon = ping.lon;
    glide.fromLat = ping.lat;
    glide.fromHeading = glide.heading;
  }
  glide.ping = ping;
  glide.startMs = nowMs;
  glide.durationMs = glide.everyMs * 1.1;
  return true;
}

/** As the gateway orders fixes: a clock that was ahead for a moment freezes no marker. */
const fixOf = ({ ts, received }: Ping): number => Math.min(ts, received);

/** 0 at the start, 1 at the fix. */
export function progress(glide: Glide, nowMs: number): number {
  if (glide.durationMs === 0) return 1;
  return Math.min(1, Math.max(0, (nowMs - glide.startMs) / glide.durationMs));
}

export function placeOf(glide: Glide, nowMs: number): [lon: number, lat: number] {
  const part = progress(glide, nowMs);
  const { ping, fromLon, fromLat } = glide;
  return [fromLon + (ping.lon - fromLon) * part, fromLat + (ping.lat - fromLat) * part];
}

export function headingOf(glide: Glide, nowMs: number): number {
  return glide.fromHeading + turn(glide.fromHeading, glide.heading) * progress(glide, nowMs);
}

/** The shorter way round, -180 to 180. */
export function turn(from: number, to: number): number {
  return ((((to - from) % 360) + 540) % 360) - 180;
}

/** Degrees from north, on the small piece of the earth between two fixes. */
export function bearing(
  from: { lon: number; lat: number },
  to: { lon: number; lat: number },
): number {
  const east = (to.lon - from.lon) * Math.cos((to.lat * Math.PI) / 180);
  return ((Math.atan2(east, to.lat - from.lat) * 180) / Math.PI + 360) % 360;
}
