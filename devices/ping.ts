import type { Fix } from "./drivers.ts";

/**
 * Writes pings as the gateway's canonical JSON: fields in order, numbers as JSON.stringify would
 * print them. `bytes` up to `length` is the text written last; it is reused for the next.
 */
export class PingWriter {
  readonly bytes = Buffer.allocUnsafe(1024);
  length = 0;

  /** `id` is the driver's opening as made by `opening`, `trip` a plain ASCII string. */
  write(opening: Uint8Array, fix: Fix, trip: string | null, seq: number): void {
    this.bytes.set(opening, 0);
    this.length = opening.length;
    this.#number(fix.ts, 0);
    this.#field(',"lat":', fix.lat, 6);
    this.#field(',"lon":', fix.lon, 6);
    this.#field(',"speed":', fix.speed, 1);
    this.#field(',"heading":', fix.heading, 0);
    this.#field(',"accuracy":', fix.accuracy, 1);
    this.#field(',"altitude":', fix.altitude, 1);
    this.#field(',"battery":', fix.battery, 2);
    if (trip !== null) {
      this.#text(',"trip":"');
      this.#text(trip);
      this.bytes[this.length++] = 0x22;
    }
    this.#field(',"seq":', seq, 0);
    this.bytes[this.length++] = 0x7d;
  }

  /** A copy of the text written last. */
  copy(): Buffer {
    const copy = Buffer.allocUnsafe(this.length);
    this.bytes.copy(copy, 0, 0, this.length);
    return copy;
  }

  #field(name: string, value: number, decimals: number): void {
    this.#text(name);
    this.#number(value, decimals);
  }

  #text(ascii: string): void {
    for (let k = 0; k < ascii.length; k++) this.bytes[this.length++] = ascii.charCodeAt(k);
  }

  #number(value: number, decimals: number): void {
    let scaled = Math.round(value * powers[decimals]);
    if (scaled < 0) {
      this.bytes[this.length++] = 0x2d;
      scaled = -scaled;
    }
    const whole = Math.floor(scaled / powers[decimals]);
    let part = scaled - whole * powers[decimals];
    this.#digits(whole);
    if (part === 0) return;
    this.bytes[this.length++] = 0x2e;
    for (let k = decimals; k > 0 && part > 0; k--) {
      const unit = powers[k - 1];
      const digit = (part / unit) | 0;
      this.bytes[this.length++] = 0x30 + digit;
      part -= digit * unit;
    }
  }

  #digits(whole: number): void {
    if (whole >= 1e9) {
      // In two halves, so that the arithmetic stays in 32-bit integers.
      const high = Math.floor(whole / 1e8);
      this.#digits(high);
      const low = whole - high * 1e8;
      for (let unit = 1e7; unit > 0; unit = (unit / 10) | 0) {
        this.bytes[this.length++] = 0x30 + (((low / unit) | 0) % 10);
      }
      return;
    }
    let unit = 1;
    while (unit * 10 <= whole) unit *= 10;
    for (; unit > 0; unit = (unit / 10) | 0) {
      this.bytes[this.length++] = 0x30 + (((whole / unit) | 0) % 10);
    }
  }
}

const powers = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000];

/** The beginning of a driver's pings. */
export function opening(id: string): Uint8Array {
  return Buffer.from(`{"id":${JSON.stringify(id)},"ts":`);
}
