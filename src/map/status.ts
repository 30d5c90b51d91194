/** The line of figures: connection, drivers in view, updates a second, latency. */
import type { Connection } from "./feed.ts";
import { element, setText } from "./page.ts";

/** Updates older than this on arrival: what is shown is not "live". */
const LAG_MS = 3000;

const words: Record<Connection, string> = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  refused: "Disconnected",
  paused: "Paused",
};

const whole = new Intl.NumberFormat("en");

export class Status {
  #connection: Connection = "connecting";
  #reason = "";

  get connection(): Connection {
    return this.#connection;
  }

  connect(connection: Connection, reason: string): void {
    this.#connection = connection;
    this.#reason = reason;
    this.#show(null);
  }

  figures(inView: number, perSecond: number, latencyMs: number | null): void {
    setText("in-view", whole.format(inView));
    const rounded = perSecond < 10 ? Math.round(perSecond * 10) / 10 : Math.round(perSecond);
    setText("per-second", whole.format(rounded));
    setText("latency", latencyMs === null ? "–" : inTime(latencyMs));
    this.#show(latencyMs);
  }

  #show(latencyMs: number | null): void {
    const state = element("state");
    const lags = this.#connection === "live" && latencyMs !== null && latencyMs > LAG_MS;
    state.dataset.state = lags ? "lagging" : this.#connection;
    state.title = this.#reason;
    setText("state-text", lags ? "Lagging" : words[this.#connection]);
  }
}

function inTime(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
