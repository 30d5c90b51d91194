// Pings over MQTT 3.1.1 inside WebSocket, QoS 1: every PUBLISH must get its PUBACK, in order.
//
//   k6 run -e VUS=200 -e RATE=2000 load/k6/mqtt-ws.js
//
// VUS drivers (100) · RATE messages/s of all drivers together (1 per driver) · BATCH pings per
// message (1) · SECONDS (10) · URL (ws://127.0.0.1:8081/mqtt) · P99_MS threshold (250)
import { check } from "k6";
import { Counter, Trend } from "k6/metrics";
import { WebSocket } from "k6/websockets";
import { driverId, openLoop, pingsOf, scenarios } from "./driver.js";

const vus = Number(__ENV.VUS || 100);
const rate = Number(__ENV.RATE || vus);
const batch = Number(__ENV.BATCH || 1);
const seconds = Number(__ENV.SECONDS || 10);
const url = __ENV.URL || "ws://127.0.0.1:8081/mqtt";
const drainMs = 10_000;

export const options = {
  scenarios: scenarios(vus, seconds),
  thresholds: {
    checks: ["rate==1"],
    puback_ms: [`p(99)<${__ENV.P99_MS || 250}`],
  },
  summaryTrendStats: ["med", "p(99)", "p(99.9)", "max"],
};

const sentPings = new Counter("pings_sent");
const ackedPings = new Counter("pings_acked");
const pubackMs = new Trend("puback_ms", true);

// --- the MQTT packets this script sends; all text is ASCII ---

function packet(type, body) {
  const head = [type];
  let length = body.length;
  do {
    head.push((length & 127) | (length > 127 ? 128 : 0));
    length >>= 7;
  } while (length > 0);
  return new Uint8Array([...head, ...body]).buffer;
}

const bytes = (text) => Array.from(text, (letter) => letter.charCodeAt(0));
const text = (value) => [value.length >> 8, value.length & 255, ...bytes(value)];

/** Clean session, keep-alive 600 s. */
const connect = (id) => packet(0x10, [...text("MQTT"), 4, 2, 600 >> 8, 600 & 255, ...text(id)]);
const publish = (topic, id, payload) =>
  packet(0x32, [...text(topic), id >> 8, id & 255, ...bytes(payload)]);
const disconnect = new Uint8Array([0xe0, 0]).buffer;
const CONNACK = 2;
const PUBACK = 4;
const packetIds = 60_000;

export default function driver() {
  const id = driverId(__VU);
  const pings = pingsOf(id);
  const socket = new WebSocket(url, "mqtt");
  socket.binaryType = "arraybuffer";
  const due = []; // of the messages not yet answered, oldest first
  let pending = []; // bytes of a packet that is not whole yet: frames and packets do not line up
  let sent = 0;
  let acked = 0;
  let done = false;
  let late; // gives up on what is still unanswered

  socket.onopen = () => socket.send(connect(id));

  function send(n, dueMs) {
    if (socket.readyState !== 1) return false;
    const payload = pings(n * batch, batch);
    socket.send(publish(`fleet/${id}/position`, (n % packetIds) + 1, payload));
    due.push(dueMs);
    sent++;
    sentPings.add(batch);
  }

  socket.onmessage = ({ data }) => {
    pending.push(...new Uint8Array(data));
    // What a broker sends to a client without subscriptions is shorter than 128 bytes.
    while (pending.length >= 2 && pending.length >= 2 + pending[1]) {
      receive(pending.slice(0, 2 + pending[1]));
      pending = pending.slice(2 + pending[1]);
    }
  };

  function receive(answer) {
    const type = answer[0] >> 4;
    if (type === CONNACK) {
      const taken = check(answer[3], { "CONNACK accepts": (code) => code === 0 });
      if (taken) openLoop(rate / vus, seconds, send, finish);
    } else if (type === PUBACK) {
      const packetId = (answer[2] << 8) | answer[3];
      const next = (acked % packetIds) + 1;
      check(packetId, { "PUBACK in order": (got) => got === next });
      acked++;
      pubackMs.add(Date.now() - due.shift());
      ackedPings.add(batch);
      if (done && acked === sent) close();
    }
  }

  function finish() {
    done = true;
    if (acked === sent) close();
    else late = setTimeout(close, drainMs);
  }

  function close() {
    if (socket.readyState !== 1) return;
    socket.send(disconnect);
    socket.close();
  }

  socket.onclose = () => {
    clearTimeout(late);
    check(done && sent > 0 && acked === sent, { "every PUBLISH acknowledged": (ok) => ok });
  };
  socket.onerror = ({ error }) => {
    check(error, { "no error on the socket": () => false });
  };
}
