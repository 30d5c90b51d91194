import type { UWS } from "../lib/uws.ts";
import type { Counter, Registry } from "../metrics/registry.ts";
import type { ErrorCode } from "../model/errors.ts";
import { Exchange } from "../lib/http-exchange.ts";
import type { Call } from "./exchange.ts";
import { HttpBodies } from "./http-bodies.ts";
import { foreignOrigin, parseQuery, readHead, type Head } from "../lib/http-guard.ts";
import { takeIngest } from "./http-ingest.ts";
import { takeOsmand } from "./http-osmand.ts";
import { takeOwntracks } from "./http-owntracks.ts";
import type { Intake } from "./intake-types.ts";

type Route = {
  methods: readonly string[];
  take: (call: Call) => void;
};

const routes = new Map<string, Route>([
  ["/v1/ingest", { methods: ["POST"], take: takeIngest }],
  ["/pub", { methods: ["POST"], take: takeOwntracks }],
  ["/osmand", { methods: ["GET", "POST"], take: takeOsmand }],
]);

/** HTTP on the device port: everything that is not a WebSocket. */
export class HttpIngest {
  readonly #intake: Intake;
  readonly #registry: Registry;
  readonly #allowOrigin: readonly string[];
  readonly #bodies: HttpBodies;
  readonly #responses = new Map<number, Counter>();
  #open = 0;
  #onIdle: (() => void) | null = null;

  constructor(intake: Intake, registry: Registry, allowOrigin: readonly string[]) {
    this.#intake = intake;
    this.#registry = registry;
    this.#allowOrigin = allowOrigin;
    this.#bodies = new HttpBodies(intake);
  }

  handle(res: UWS.HttpResponse, req: UWS.HttpRequest): void {
    const head = readHead(req);
    const exchange = this.begin(res, head);
    if (head.fault !== null) return exchange.errorAndClose(400, "bad_request", head.fault);
    const route = routes.get(head.path);
    if (route === undefined) return this.#notFound(exchange, head);
    if (!route.methods.includes(head.method)) {
      return exchange.error(405, "method_not_allowed", `${head.path} takes ${route.methods[0]}`, [
        ["Allow", route.methods.join(", ")],
      ]);
    }
    if (foreignOrigin(head, this.#allowOrigin)) {
      return exchange.error(403, "foreign_origin", "this origin is not allowed");
    }
    const params = parseQuery(head.query);
    if (params === null) return exchange.error(400, "bad_request", "the query is malformed");
    this.#bodies.read(exchange, head, (body) => {
      route.take({ exchange, head, params, body, intake: this.#intake });
    });
  }

  /** Also for upgrades that are refused. */
  begin(res: UWS.HttpResponse, head: Head): Exchange {
    const exchange = new Exchange(res, head);
    this.#open++;
    exchange.onOver = (status) => this.#over(status);
    return exchange;
  }

  /** Refuses what is not taken yet; resolves when every request is answered. */
  drain(reason: ErrorCode): Promise<void> {
    this.#bodies.drain(reason);
    if (this.#open === 0) return Promise.resolve();
    return new Promise((resolve) => (this.#onIdle = resolve));
  }

  close(): void {
    this.#bodies.close();
  }

  #notFound(exchange: Exchange, head: Head): void {
    if (head.path === "/mqtt") {
      exchange.error(426, "upgrade_required", "MQTT is spoken over WebSocket here", [
        ["Upgrade", "websocket"],
      ]);
    } else {
      exchange.error(404, "not_found", "nothing is served here");
    }
  }

  #over(status: number): void {
    let counter = this.#responses.get(status);
    if (counter === undefined) {
      const help = "HTTP answers on the device port; status 0: the client went away first";
      const labels = { status: String(status) };
      counter = this.#registry.counter("milepost_device_http_responses_total", help, labels);
      this.#responses.set(status, counter);
    }
    counter.value++;
    this.#open--;
    if (this.#open === 0) this.#onIdle?.();
  }
}
