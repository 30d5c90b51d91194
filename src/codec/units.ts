/**
 * Conversions at the edge. What is no number, or a device's mark for "unknown" such as -1, is
 * handed on as it is: the reader keeps it under `raw.` as it was sent.
 */

/** To 0.1 mm/s, so that 50 km/h is not stored with fifteen digits. */
export function metresPerSecond(speed: unknown, perUnit: number): unknown {
  if (typeof speed !== "number" || speed < 0) return speed;
  return Math.round(speed * perUnit * 10_000) / 10_000;
}

export function shareOfPercent(percent: unknown): unknown {
  return typeof percent === "number" && percent >= 0 ? percent / 100 : percent;
}
