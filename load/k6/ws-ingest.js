// Pings over WebSocket, single or in arrays; every frame must be acknowledged, in order.
//
//   k6 run -e VUS=200 -e RATE=2000 load/k6/ws-ingest.js                 2 000 pings/s
//   k6 run -e BATCH=10 -e VUS=200 -e RATE=10000 load/k6/ws-ingest.js    100 000 pings/s
//
// VUS drivers (100) · RATE frames/s of all drivers together (1 per driver) · BATCH pings per frame
// (1) · SECONDS (10) · URL (ws://127.0.0.1:8081/v1/ingest) · P99_MS threshold (250)
import { check } from "k6";
import { Counter, Trend } from "k6/metrics";
import { WebSocket } from "k6/websockets";
import { driverId, openLoop, pingsOf, scenarios } from "./driver.js";

const vus = Number(__ENV.VUS || 100);
const rate = Number(__ENV.RATE || vus);
const batch = Number(__ENV.BATCH || 1);
const seconds = Number(__ENV.SECONDS || 10);
const url = __ENV.URL || "ws://127.0.0.1:8081/v1/ingest";
const drainMs = 10_000;

export const options = {
  scenarios: scenarios(vus, seconds),
  thresholds: {
    checks: ["rate==1"],
    ack_ms: [`p(99)<${__ENV.P99_MS || 250}`],
  },
  summaryTrendStats: ["med", "p(99)", "p(99.9)", "max"],
};

const sentPings = new Counter("pings_sent");
const ackedPings = new Counter("pings_acked");
const ackMs = new Trend("ack_ms", true);

export default function driver() {
  const id = driverId(__VU);
  const pings = pingsOf(id);
  const socket = new WebSocket(`${url}?driver=${id}`);
  const due = []; // of the frames not yet answered, oldest first
  let sent = 0;
  let acked = 0;
  let done = false;
  let late; // gives up on what is still unanswered

  socket.onopen = () => {
    openLoop(rate / vus, seconds, send, finish);
  };

  function send(n, dueMs) {
    if (socket.readyState !== 1) return false;
    socket.send(pings(n * batch, batch));
    due.push(dueMs);
    sent++;
    sentPings.add(batch);
  }

  socket.onmessage = ({ data }) => {
    acked++;
    const whole = data.startsWith(`{"ack":${acked},"accepted":${batch},`);
    check(whole, { "acknowledged in order, every ping accepted": (ok) => ok });
    ackMs.add(Date.now() - due.shift());
    if (whole) ackedPings.add(batch);
    if (done && acked === sent) socket.close();
  };

  function finish() {
    done = true;
    if (acked === sent) socket.close();
    else late = setTimeout(() => socket.close(), drainMs);
  }

  socket.onclose = () => {
    clearTimeout(late);
    check(done && sent > 0 && acked === sent, { "every frame acknowledged": (ok) => ok });
  };
  socket.onerror = ({ error }) => {
    check(error, { "no error on the socket": () => false });
  };
}
