/** What the gateway tells of a driver. */
export type Ping = {
  id: string;
  /** Fix time, ms. */
  ts: number;
  lat: number;
  lon: number;
  /** m/s */
  speed?: number;
  /** Degrees from north. */
  heading?: number;
  accuracy?: number;
  altitude?: number;
  /** 0 to 1 */
  battery?: number;
  trip?: string;
  /** When the gateway had it, ms. */
  received: number;
  /** An older fix than the latest. */
  late?: boolean;
};

export type Gone = { id: string; gone: "left" | "stale" };

export type Publication = Ping | Gone;
