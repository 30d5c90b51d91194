import { speedLimits } from "./city.ts";
import type { City } from "./city.ts";
import { mix, nextOf, normalOf } from "./random.ts";
import { Routes } from "./routes.ts";

/** What a driver's phone reads from its sensors; reused from reading to reading. */
export type Fix = {
  /** Fix time by the driver's own clock, ms. */
  ts: number;
  lat: number;
  lon: number;
  speed: number;
  heading: number;
  accuracy: number;
  altitude: number;
  battery: number;
};

/** Comfortable driving, m/s²; test riders would complain above 3. */
const pullAway = 1.9;
const braking = 2.2;
const turnSpeed = 6;
/** GPS error wanders rather than jumps: it forgets itself over so many seconds. */
const errorMemorySeconds = 25;
/** Of a battery per second: ten hours of driving empty it, two hours at a plug fill it. */
const drainPerSecond = 1 / 36_000;
const chargePerSecond = 1 / 7200;

/**
 * The drivers of a city as arrays, an entry each: no object, closure or timer per driver. Nothing
 * here knows what time it is: `advance` is told how long it was since the last call, `read` when
 * it is. Each driver has its own random sequence, so that the order of calls among drivers does
 * not matter.
 */
export class Drivers {
  readonly count: number;
  /** Trip of a driver: when it began, s since 1970; 0 while parked. */
  readonly tripStarted: Float64Array;
  readonly fix: Fix = {
    ts: 0,
    lat: 0,
    lon: 0,
    speed: 0,
    heading: 0,
    accuracy: 0,
    altitude: 0,
    battery: 0,
  };
  readonly #city: City;
  readonly #routes: Routes;
  readonly #startMs: number;
  readonly #random: Uint32Array;
  /** Lane the driver is on, and metres from its start. */
  readonly #lane: Int32Array;
  readonly #along: Float64Array;
  readonly #speed: Float32Array;
  /** Speed at which the lane's end may be passed; 0 with `#stops`. */
  readonly #endSpeed: Float32Array;
  readonly #stops: Uint8Array;
  /** Seconds still to stand. */
  readonly #wait: Float64Array;
  readonly #place: Int16Array;
  /** The trip ends this many seconds before its place. */
  readonly #short: Float32Array;
  readonly #style: Float32Array;
  readonly #heading: Float32Array;
  readonly #battery: Float64Array;
  readonly #charging: Uint8Array;
  readonly #errorX: Float32Array;
  readonly #errorY: Float32Array;
  readonly #clockOffsetMs: Float64Array;
  readonly #clockRate: Float64Array;

  constructor(city: City, options: { count: number; seed: number; startMs: number }) {
    const { count, seed, startMs } = options;
    this.count = count;
    this.#city = city;
    this.#routes = new Routes(city);
    this.#startMs = startMs;
    this.tripStarted = new Float64Array(count);
    this.#random = new Uint32Array(count);
    this.#lane = new Int32Array(count);
    this.#along = new Float64Array(count);
    this.#speed = new Float32Array(count);
    this.#endSpeed = new Float32Array(count);
    this.#stops = new Uint8Array(count);
    this.#wait = new Float64Array(count);
    this.#place = new Int16Array(count);
    this.#short = new Float32Array(count);
    this.#style = new Float32Array(count);
    this.#heading = new Float32Array(count);
    this.#battery = new Float64Array(count);
    this.#charging = new Uint8Array(count);
    this.#errorX = new Float32Array(count);
    this.#errorY = new Float32Array(count);
    this.#clockOffsetMs = new Float64Array(count);
    this.#clockRate = new Float64Array(count);
    for (let i = 0; i < count; i++) this.#settle(i, seed);
  }

  /** Moves a driver on by `seconds`; `nowMs` is the time at their end. */
  advance(i: number, seconds: number, nowMs: number): void {
    this.#useBattery(i, seconds);
    for (let left = seconds; left > 0;) {
      // Steps of a second at most keep the braking stable whatever the rate of pings.
      const step = left < 1 ? left : 1;
      left -= step;
      if (this.#wait[i] > 0) this.#stand(i, step, nowMs - left * 1000);
      else this.#drive(i, step);
    }
    const keep = Math.exp(-seconds / errorMemorySeconds);
    const fresh = Math.sqrt(1 - keep * keep);
    this.#errorX[i] = this.#errorX[i] * keep + fresh * normalOf(this.#random, i);
    this.#errorY[i] = this.#errorY[i] * keep + fresh * normalOf(this.#random, i);
  }

  /** No radio here: what is measured now can be sent only later. */
  inTunnel(i: number): boolean {
    return this.tripStarted[i] !== 0 && this.#city.streets.tunnels[this.#lane[i] >> 1] === 1;
  }

  /** Reads a driver's sensors into `fix`. */
  read(i: number, nowMs: number): Fix {
    const { fix } = this;
    const { x, y } = this.#city.streets;
    const lane = this.#lane[i];
    const [tail, head] = [this.#city.tail(lane), this.#city.head(lane)];
    const part = this.#along[i] / this.#city.streets.lengths[lane >> 1];
    const trueX = x[tail] + (x[head] - x[tail]) * part;
    const trueY = y[tail] + (y[head] - y[tail]) * part;
    const fromCentre = Math.abs(trueX - x[0]) + Math.abs(trueY - y[0]);
    // Between high buildings satellites are hidden, below ground they are gone.
    const deviation = this.inTunnel(i) ? 14 : fromCentre < 4000 ? 7 : 3.5;
    fix.ts = Math.floor(
      nowMs + this.#clockOffsetMs[i] + (nowMs - this.#startMs) * this.#clockRate[i],
    );
    fix.lat = this.#city.lat(trueY + this.#errorY[i] * deviation);
    fix.lon = this.#city.lon(trueX + this.#errorX[i] * deviation);
    const speed = this.#speed[i];
    const moving = speed > 0.3;
    fix.speed = moving ? Math.max(0, speed + 0.15 * normalOf(this.#random, i)) : 0;
    if (moving) {
      const degrees = (Math.atan2(x[head] - x[tail], y[head] - y[tail]) * 180) / Math.PI;
      this.#heading[i] = Math.round(degrees + 2 * normalOf(this.#random, i) + 720) % 360;
    }
    fix.heading = this.#heading[i];
    fix.accuracy = deviation * (1.2 + 0.5 * nextOf(this.#random, i));
    const hills = Math.sin(trueX / 2900) * Math.cos(trueY / 3700);
    fix.altitude = this.#city.plan.altitude + 18 * hills + 2 * this.#errorX[i];
    fix.battery = this.#battery[i];
    return fix;
  }

  /** Where a driver is, and how, when the fleet starts. */
  #settle(i: number, seed: number): void {
    const random = this.#random;
    random[i] = mix(seed, i);
    const { streets } = this.#city;
    this.#style[i] = 0.8 + 0.2 * nextOf(random, i);
    this.#battery[i] = 0.3 + 0.7 * nextOf(random, i);
    this.#errorX[i] = normalOf(random, i);
    this.#errorY[i] = normalOf(random, i);
    // Phones are set by the network: mostly within a second or two, drifting some ppm.
    this.#clockOffsetMs[i] = 700 * normalOf(random, i);
    this.#clockRate[i] = 15e-6 * normalOf(random, i);
    const junction = Math.floor(nextOf(random, i) * this.#city.junctions);
    this.#lane[i] = streets.lanesOut[streets.firstOut[junction]];
    this.#heading[i] = Math.floor(360 * nextOf(random, i));
    // Nine in ten are on their way.
    if (nextOf(random, i) < 0.1) this.#park(i);
    else this.#beginTrip(i, this.#startMs);
  }

  #useBattery(i: number, seconds: number): void {
    let battery = this.#battery[i];
    if (this.#charging[i] === 1) {
      battery += chargePerSecond * seconds;
      if (battery > 0.97) this.#charging[i] = 0;
    } else {
      battery -= drainPerSecond * seconds;
      if (battery < 0.15) this.#charging[i] = 1;
    }
    this.#battery[i] = Math.min(1, Math.max(0.01, battery));
  }

  #stand(i: number, seconds: number, nowMs: number): void {
    this.#speed[i] = 0;
    this.#wait[i] -= seconds;
    if (this.#wait[i] > 0) return;
    this.#wait[i] = 0;
    if (this.tripStarted[i] === 0) this.#beginTrip(i, nowMs);
  }

  #drive(i: number, seconds: number): void {
    const { streets } = this.#city;
    let street = this.#lane[i] >> 1;
    const left = streets.lengths[street] - this.#along[i];
    const limit = speedLimits[streets.kinds[street]] * this.#style[i];
    const end = this.#endSpeed[i];
    const canStop = Math.sqrt(end * end + 2 * braking * Math.max(0, left));
    const speed = Math.min(limit, canStop, this.#speed[i] + pullAway * seconds);
    this.#speed[i] = speed;
    let ahead = this.#along[i] + speed * seconds;
    if (this.#stops[i] === 1 && ahead > streets.lengths[street] - 3) {
      this.#arrive(i);
      return;
    }
    // Short streets may be passed whole within a step.
    while (ahead >= streets.lengths[street]) {
      if (this.#stops[i] === 1) {
        this.#arrive(i);
        return;
      }
      ahead -= streets.lengths[street];
      this.#enter(i, this.#nextLane(i));
      street = this.#lane[i] >> 1;
    }
    this.#along[i] = ahead;
  }

  /** Stands at the end of a lane: at a red light, or because the trip is over. */
  #arrive(i: number): void {
    this.#speed[i] = 0;
    const junction = this.#city.head(this.#lane[i]);
    const route = this.#routes.to(this.#place[i]);
    if (route.seconds[junction] <= this.#short[i]) {
      this.#along[i] = this.#city.streets.lengths[this.#lane[i] >> 1];
      this.#park(i);
      return;
    }
    this.#enter(i, route.lanes[junction]);
    const red = 4 + 36 * nextOf(this.#random, i);
    this.#wait[i] = this.#city.streets.kinds[this.#lane[i] >> 1] === 3 ? red / 6 : red;
  }

  #park(i: number): void {
    this.#speed[i] = 0;
    this.tripStarted[i] = 0;
    this.#wait[i] = 20 + 220 * nextOf(this.#random, i) ** 2;
    if (this.#battery[i] < 0.4) this.#charging[i] = 1;
  }

  #beginTrip(i: number, nowMs: number): void {
    const along = this.#along[i];
    const lane = this.#lane[i];
    const junction = along > 0 ? this.#city.head(lane) : this.#city.tail(lane);
    let place = 0;
    // Somewhere at least six minutes away, if the dice allow.
    for (let attempt = 0; attempt < 6; attempt++) {
      place = Math.floor(nextOf(this.#random, i) * this.#routes.count);
      if (this.#routes.to(place).seconds[junction] > 360) break;
    }
    const route = this.#routes.to(place);
    this.#place[i] = place;
    this.#short[i] = Math.min(150 * nextOf(this.#random, i), route.seconds[junction] / 2);
    if (route.lanes[junction] < 0) {
      this.#park(i);
      return;
    }
    this.tripStarted[i] = Math.floor(nowMs / 1000);
    this.#enter(i, route.lanes[junction]);
  }

  #nextLane(i: number): number {
    return this.#routes.to(this.#place[i]).lanes[this.#city.head(this.#lane[i])];
  }

  /** Goes onto a lane and decides how its end will be taken. */
  #enter(i: number, lane: number): void {
    const { streets } = this.#city;
    this.#lane[i] = lane;
    this.#along[i] = 0;
    const junction = this.#city.head(lane);
    const route = this.#routes.to(this.#place[i]);
    const next = route.lanes[junction];
    this.#stops[i] = 1;
    this.#endSpeed[i] = 0;
    if (route.seconds[junction] <= this.#short[i] || next < 0) return;
    const kind = streets.kinds[lane >> 1];
    const nextKind = streets.kinds[next >> 1];
    const odds = nextKind < kind ? 0.5 : kind === 0 ? 0.04 : kind === 3 ? 0.25 : 0.16;
    if (nextOf(this.#random, i) < odds) return;
    this.#stops[i] = 0;
    const limit = speedLimits[Math.max(kind, nextKind)] * this.#style[i];
    this.#endSpeed[i] = this.#straightOn(lane, next) ? limit : Math.min(limit, turnSpeed);
  }

  #straightOn(lane: number, next: number): boolean {
    const { x, y, lengths } = this.#city.streets;
    const [a, b, c] = [this.#city.tail(lane), this.#city.head(lane), this.#city.head(next)];
    const dot = (x[b] - x[a]) * (x[c] - x[b]) + (y[b] - y[a]) * (y[c] - y[b]);
    return dot > 0.8 * lengths[lane >> 1] * lengths[next >> 1];
  }
}
