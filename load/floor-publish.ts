/**
 * The floor under live tracking: bare uWebSockets.js that publishes the bytes of a position to
 * whoever asked for its channel, so many a second. Nothing is read, looked up or kept.
 *
 *   node load/floor-publish.ts [--port 0] [--channels 1] [--rate 100]    prints {"port":…,"pid":…}
 */
import { parseArgs } from "node:util";
import { uws } from "../src/lib/uws.ts";
import { announce } from "./floor.ts";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    channels: { type: "string", default: "1" },
    rate: { type: "string", default: "100" },
  },
});
const channels = Number(values.channels);
const rate = Number(values.rate);
/** As often as the gateway's log commits. */
const EVERY_MS = 2;

/** What the gateway sends for a ping of the device generator. */
function line(channel: number, n: number): string {
  const id = `d${String(channel).padStart(6, "0")}`;
  const now = Date.now();
  const data =
    `{"id":"${id}","ts":${now},"lat":12.80${n % 10}005,"lon":77.45${n % 10}005,"speed":8.5,` +
    `"heading":${channel % 360},"accuracy":5,"seq":${1_000_000 + n},"received":${now}}`;
  return `{"push":{"channel":"driver:${id}","pub":{"data":${data},"offset":${n + 1}}}}`;
}

const app = uws.App();
app.ws("/*", {
  maxBackpressure: 16 * 1024 * 1024,
  message: (ws, message) => {
    for (const command of Buffer.from(message).toString().split("\n")) {
      const { id, subscribe } = JSON.parse(command);
      if (id === undefined) continue;
      if (subscribe !== undefined) ws.subscribe(subscribe.channel);
      ws.send(`{"id":${id},"${subscribe === undefined ? "connect" : "subscribe"}":{}}`);
    }
  },
});
app.listen("127.0.0.1", Number(values.port), (listening) => {
  if (!listening) throw new Error("uWebSockets.js could not listen");
  announce(uws.us_socket_local_port(listening));
});

const began = performance.now();
let published = 0;
setInterval(() => {
  const due = Math.floor(((performance.now() - began) / 1000) * rate);
  for (; published < due; published++) {
    const channel = published % channels;
    const text = line(channel, published);
    app.publish(`driver:d${String(channel).padStart(6, "0")}`, text);
  }
}, EVERY_MS);
