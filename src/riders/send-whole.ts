import type { Exchange, HeaderFields } from "../lib/http-exchange.ts";

/** Below it uWS may as well hold what the socket does not take. */
const HELD_BYTES_MAX = 64 * 1024;

/**
 * Answers with bytes that are kept elsewhere: a slow client holds a place in them, and no copy.
 * uWS closes a connection that takes nothing for ten seconds.
 */
export function sendWhole(exchange: Exchange, body: Buffer, headers: HeaderFields): void {
  if (exchange.isHead || body.byteLength <= HELD_BYTES_MAX) {
    return exchange.reply(200, body, headers);
  }
  const res = exchange.begin(200, headers, () => {});
  if (res === null) return;
  const send = (from: number): boolean => {
    const [isTaken, isDone] = res.tryEnd(body.subarray(from), body.byteLength);
    if (isDone) exchange.ended(200);
    return isTaken;
  };
  res.onWritable((offset) => send(offset));
  res.cork(() => void send(0));
}
