import { join } from "node:path";
import { Exchange, type HeaderFields } from "../lib/http-exchange.ts";
import { type Head, parseQuery, readHead } from "../lib/http-guard.ts";
import { type Check, readiness } from "../lib/health.ts";
import type { UWS } from "../lib/uws.ts";
import type { Counter, Registry } from "../metrics/registry.ts";
import { limits } from "../model/limits.ts";
import { Assets } from "./assets.ts";
import { DiskFiles } from "./disk-file.ts";
import { Density } from "./density.ts";
import { refuseUnknown } from "./parameters.ts";
import type { Pressure } from "./pressure.ts";
import { Rest } from "./rest.ts";
import { BadRequest, type RiderRequest } from "./rider-request.ts";
import type { RidersOptions } from "./server.ts";
import { EventStreams } from "./sse.ts";
import { dataFiles } from "./static-files.ts";
import { Tracks } from "./track.ts";
import { WebOrigins } from "./web-origin.ts";

type Route = { name: string; take(request: RiderRequest): void | Promise<void> };

const METHODS = "GET, HEAD, OPTIONS";
const DRIVERS = "/v1/drivers/";
const TRACK = "/track";

const fixed: HeaderFields = [
  ["X-Content-Type-Options", "nosniff"],
  ["Referrer-Policy", "no-referrer"],
  // who may read an answer is decided by the page that asks
  ["Vary", "Origin"],
];
const preflight: HeaderFields = [
  ["Access-Control-Allow-Methods", "GET, HEAD"],
  ["Access-Control-Allow-Headers", "Last-Event-ID"],
  ["Access-Control-Max-Age", "600"],
];

/** HTTP on the riders' port: everything that is not a WebSocket. */
export class RiderHttp {
  readonly #registry: Registry;
  readonly #origins: WebOrigins;
  readonly #live: RidersOptions["live"];
  readonly #report: (line: string) => void;
  readonly #routes: Map<string, Route>;
  readonly #driver: Route;
  readonly #track: Route;
  readonly #streams: EventStreams;
  readonly #answers = new Map<string, Counter>();
  #open = 0;
  #draining = false;
  #onIdle: (() => void) | null = null;

  constructor(options: RidersOptions, pressure: Pressure) {
    const { registry, allowOrigin, host, live, report, dataDir } = options;
    this.#registry = registry;
    this.#live = live;
    this.#report = report;
    this.#origins = new WebOrigins(allowOrigin, host);
    const rest = new Rest(live);
    this.#driver = { name: "driver", take: (request) => rest.driver(request) };
    const density = new Density(live);
    const tracks = new Tracks(live);
    this.#track = { name: "track", take: (request) => tracks.send(request) };
    this.#streams = new EventStreams(live, registry, pressure);
    const stream: Route = { name: "stream", take: (request) => this.#streams.open(request) };
    this.#routes = new Map<string, Route>([
      ["/v1/drivers", { name: "drivers", take: (request) => rest.drivers(request) }],
      ["/v1/stream", stream],
      ["/v1/density", { name: "density", take: (request) => density.send(request) }],
      ["/livez", { name: "livez", take: ({ exchange }) => exchange.reply(200, "ok\n", plain) }],
      ["/readyz", { name: "readyz", take: (request) => this.#readyz(request) }],
      ["/connection/websocket", { name: "websocket", take: upgradeRequired }],
    ]);
    const assets = new Assets();
    const asset: Route = { name: "asset", take: (request) => assets.send(request) };
    for (const address of assets.addresses()) this.#routes.set(address, asset);
    const disk = new DiskFiles();
    for (const { address, name, type, otherwise } of dataFiles) {
      const path = join(dataDir, name);
      const take = (request: RiderRequest) => disk.send(request, path, type, otherwise);
      this.#routes.set(address, { name: "basemap", take });
    }
  }

  handle(res: UWS.HttpResponse, req: UWS.HttpRequest): void {
    const head = readHead(req);
    const found = this.#find(head.path);
    const exchange = this.begin(res, head, found?.route.name ?? "none");
    if (head.fault !== null) return exchange.errorAndClose(400, "bad_request", head.fault);
    if (head.contentLength > 0 || head.chunked) {
      return exchange.errorAndClose(400, "bad_request", "a request here has no body");
    }
    const origin = this.#origins.judge(head);
    if (origin === "misnamed") {
      return exchange.error(403, "foreign_host", "this is not a name of this server");
    }
    if (origin === "named" && head.origin !== null) {
      exchange.common = [...fixed, ["Access-Control-Allow-Origin", head.origin]];
    }
    if (found === null) return exchange.error(404, "not_found", "nothing is served here");
    if (head.method === "OPTIONS") {
      return exchange.reply(204, "", [["Allow", METHODS], ...preflight]);
    }
    if (head.method !== "GET" && head.method !== "HEAD") {
      const allow = [["Allow", METHODS]] as const;
      return exchange.error(405, "method_not_allowed", "this is for reading only", allow);
    }
    this.#take(exchange, head, found, origin === "foreign", (name) => req.getHeader(name));
  }

  /** Also for upgrades that are refused. */
  begin(res: UWS.HttpResponse, head: Head, route: string): Exchange {
    const exchange = new Exchange(res, head);
    exchange.common = fixed;
    this.#open++;
    exchange.onOver = (status) => this.#over(route, status);
    return exchange;
  }

  /** Resolves when every request is answered, or has had its time. */
  drain(): Promise<void> {
    this.#draining = true;
    this.#streams.drain();
    if (this.#open === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = resolve;
      setTimeout(resolve, limits.riderDrainMsMax).unref();
    });
  }

  close(): void {
    this.#streams.close();
  }

  #find(path: string): { route: Route; id: string } | null {
    const route = this.#routes.get(path);
    if (route !== undefined) return { route, id: "" };
    if (!path.startsWith(DRIVERS)) return null;
    const rest = path.slice(DRIVERS.length);
    const isTrack = rest.endsWith(TRACK);
    const id = isTrack ? rest.slice(0, -TRACK.length) : rest;
    if (id === "" || id.includes("/")) return null;
    return { route: isTrack ? this.#track : this.#driver, id };
  }

  #take(
    exchange: Exchange,
    head: Head,
    { route, id }: { route: Route; id: string },
    isForeign: boolean,
    header: (name: string) => string,
  ): void {
    const params = parseQuery(head.query);
    const decoded = decode(id);
    if (params === null || decoded === null) {
      return exchange.error(400, "bad_request", "the address is malformed: a stray %");
    }
    const refuse = (error: unknown): void => {
      if (error instanceof BadRequest) return exchange.error(400, error.code, error.message);
      // one request's fault is not every rider's
      this.#report(`riders: ${route.name}: ${(error as Error).stack ?? String(error)}`);
      exchange.failed();
    };
    try {
      const taken = route.take({ exchange, head, params, id: decoded, isForeign, header });
      if (taken !== undefined) taken.catch(refuse);
    } catch (error) {
      refuse(error);
    }
  }

  #readyz({ exchange, params }: RiderRequest): void {
    refuseUnknown(params, ["verbose"]);
    const { status, text } = readiness(this.#checks(), params.has("verbose"));
    exchange.reply(status, text, plain);
  }

  #checks(): Check[] {
    const { tracker, drivers, checkpoint, now } = this.#live;
    const { ageMs } = checkpoint;
    const age = ageMs === null ? "not yet written" : `${(ageMs / 1000).toFixed(0)} s old`;
    const isOld = ageMs !== null && ageMs > limits.checkpointMsMax;
    const lagMs = tracker.lagMs(now());
    const seconds = (lagMs / 1000).toFixed(1);
    const away = `the uplink's cluster has not answered for ${seconds} s`;
    const behind = tracker.silentMs > 0 ? away : `${tracker.lag} pings and ${seconds} s behind`;
    const isBehind = tracker.silentMs > 0 || lagMs > limits.trackerLagMsMax;
    return [
      { name: "positions", ok: tracker.topic !== null, detail: tracker.topic?.id ?? "no topic" },
      { name: "tracker", ok: true, degraded: isBehind, detail: behind },
      { name: "drivers", ok: true, detail: `${drivers.count} known` },
      { name: "checkpoint", ok: true, degraded: isOld, detail: age },
      { name: "port", ok: !this.#draining, detail: this.#draining ? "draining" : "open" },
    ];
  }

  #over(route: string, status: number): void {
    const key = `${route} ${status}`;
    let counter = this.#answers.get(key);
    if (counter === undefined) {
      const help = "HTTP answers on the riders' port; status 0: the client went away first";
      const labels = { route, status: String(status) };
      counter = this.#registry.counter("milepost_http_requests_total", help, labels);
      this.#answers.set(key, counter);
    }
    counter.value++;
    this.#open--;
    if (this.#open === 0) this.#onIdle?.();
  }
}

const plain: HeaderFields = [["Content-Type", "text/plain; charset=utf-8"]];

function upgradeRequired({ exchange }: RiderRequest): void {
  exchange.error(426, "upgrade_required", "the Centrifugo protocol is spoken here, by WebSocket", [
    ["Upgrade", "websocket"],
  ]);
}

/** Null: a `%` that is not followed by the escape of a UTF-8 character. */
function decode(text: string): string | null {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
