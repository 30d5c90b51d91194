// Riders over WebSocket, beside drivers that send: how old is a position when it arrives?
//
//   k6 run load/k6/riders.js                                   100 riders, each follows a driver
//   k6 run -e MODE=crowd -e RIDERS=500 load/k6/riders.js       all of them follow the same one
//   k6 run -e MODE=cells load/k6/riders.js                     20 dispatchers, each looks at a cell
//
// RIDERS (100; 20 for cells, where each gets the pings of all drivers) · DRIVERS (RIDERS, or 1 in a
// crowd; 200 for cells) · HZ pings a second of each (1) · SECONDS (10) ·
// URL (ws://127.0.0.1:8080/connection/websocket) · DEVICES (ws://127.0.0.1:8081/v1/ingest) ·
// P99_MS threshold of the age (250)
import { check } from "k6";
import exec from "k6/execution";
import { Counter, Trend } from "k6/metrics";
import { WebSocket } from "k6/websockets";
import { driverId, openLoop, pingsOf } from "./driver.js";

const mode = __ENV.MODE || "follow";
const riders = Number(__ENV.RIDERS || (mode === "cells" ? 20 : 100));
const drivers = Number(__ENV.DRIVERS || { crowd: 1, cells: 200 }[mode] || riders);
const hz = Number(__ENV.HZ || 1);
const seconds = Number(__ENV.SECONDS || 10);
const riderUrl = __ENV.URL || "ws://127.0.0.1:8080/connection/websocket";
const deviceUrl = __ENV.DEVICES || "ws://127.0.0.1:8081/v1/ingest";
/** Riders are there before the first ping, and still there after the last. */
const aheadSeconds = 2;
/** Of resolutions 6 to 9, around the place where the drivers of these scripts are. */
const cells = ["8660145b7ffffff", "8760145b4ffffff", "8860145b49fffff", "8960145b483ffff"];

export const options = {
  scenarios: {
    riders: each("rider", riders, 0),
    drivers: each("driver", drivers, aheadSeconds),
  },
  thresholds: {
    checks: ["rate==1"],
    age_ms: [`p(99)<${__ENV.P99_MS || 250}`],
    publications: ["count>0"],
  },
  summaryTrendStats: ["med", "p(99)", "p(99.9)", "max"],
};

const publications = new Counter("publications");
const ageMs = new Trend("age_ms", true);

function each(exec, vus, startSeconds) {
  return {
    exec,
    executor: "per-vu-iterations",
    vus,
    iterations: 1,
    startTime: `${startSeconds}s`,
    maxDuration: `${seconds + aheadSeconds + 20}s`,
  };
}

function channelOf(rider) {
  if (mode === "cells") return `cell:${cells[rider % cells.length]}`;
  return `driver:${driverId(rider % drivers)}`;
}

export function rider() {
  const number = exec.scenario.iterationInTest;
  const socket = new WebSocket(riderUrl);
  let following = false;
  socket.onopen = () => {
    const channel = channelOf(number);
    socket.send(`{"id":1,"connect":{}}\n${JSON.stringify({ id: 2, subscribe: { channel } })}`);
    setTimeout(() => socket.close(), (seconds + 2 * aheadSeconds) * 1000);
  };
  socket.onmessage = ({ data }) => {
    const now = Date.now();
    for (const line of data.split("\n")) {
      if (line === "{}") socket.send("{}");
      else if (line.startsWith('{"push"')) take(JSON.parse(line).push.pub, now);
      else if (JSON.parse(line).id === 2) following = JSON.parse(line).error === undefined;
    }
  };
  socket.onclose = () => check(following, { "the rider follows": (ok) => ok });
  socket.onerror = ({ error }) => check(error, { "no error on the rider's socket": () => false });
}

function take(publication, now) {
  if (publication === undefined || publication.data.gone !== undefined) return;
  publications.add(1);
  ageMs.add(now - publication.data.received);
}

export function driver() {
  const id = driverId(exec.scenario.iterationInTest);
  const pings = pingsOf(id);
  const socket = new WebSocket(`${deviceUrl}?driver=${id}`);
  socket.onopen = () => {
    openLoop(
      hz,
      seconds,
      (n) => {
        if (socket.readyState !== 1) return false;
        socket.send(pings(n, 1));
      },
      () => setTimeout(() => socket.close(), 1000),
    );
  };
  socket.onmessage = ({ data }) => {
    check(data.startsWith('{"ack":'), { "the ping is acknowledged": (ok) => ok });
  };
  socket.onerror = ({ error }) => check(error, { "no error on the driver's socket": () => false });
}
