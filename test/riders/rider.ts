/** Riders as their apps are: centrifuge-js in Node, and a bare WebSocket for what it never does. */
import { Centrifuge, type PublicationContext, type Subscription } from "centrifuge";
import { WebSocket } from "ws";
import type { Gateway } from "../harness/gateway.ts";

export type Told = Record<string, unknown> & { id: string; seq?: number };

export const riderUrl = (gateway: Gateway): string =>
  `ws://127.0.0.1:${gateway.ports.http}/connection/websocket`;

/** Not connected yet. `opened` sees each of its sockets. */
export function centrifuge(gateway: Gateway, opened?: (socket: WebSocket) => void): Centrifuge {
  class Watched extends WebSocket {
    constructor(url: string) {
      super(url);
      opened?.(this);
    }
  }
  return new Centrifuge(riderUrl(gateway), {
    websocket: Watched,
    minReconnectDelay: 20,
    maxReconnectDelay: 200,
  });
}

/** One channel followed, and everything it told. */
export class Following {
  readonly told: PublicationContext[] = [];
  readonly recoveries: { wasRecovering: boolean; recovered: boolean }[] = [];
  readonly subscription: Subscription;

  constructor(client: Centrifuge, channel: string, data?: Record<string, unknown>) {
    this.subscription = client.newSubscription(channel, data === undefined ? {} : { data });
    this.subscription.on("publication", (ctx) => this.told.push(ctx));
    this.subscription.on("subscribed", ({ wasRecovering, recovered }) => {
      this.recoveries.push({ wasRecovering, recovered });
    });
    this.subscription.subscribe();
  }

  async ready(): Promise<this> {
    await this.subscription.ready(10_000);
    return this;
  }

  get data(): Told[] {
    return this.told.map(({ data }) => data as Told);
  }

  get seqs(): number[] {
    return this.data.flatMap(({ seq }) => (seq === undefined ? [] : [seq]));
  }

  get offsets(): number[] {
    return this.told.map(({ offset }) => offset ?? 0);
  }
}

export async function follow(client: Centrifuge, channel: string, data?: Record<string, unknown>) {
  client.connect();
  return new Following(client, channel, data).ready();
}

/** Frames as they come, over a socket that says what it is told to. */
export class RawRider {
  readonly socket: WebSocket;
  readonly frames: string[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;

  constructor(url: string, headers: Record<string, string> = {}) {
    this.socket = new WebSocket(url, { headers, perMessageDeflate: false });
    this.socket.on("message", (data) => this.frames.push(String(data)));
    this.socket.on("error", () => {});
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code, reason) => resolve({ code, reason: String(reason) }));
    });
  }

  async opened(): Promise<this> {
    await new Promise((resolve, reject) => {
      this.socket.on("open", resolve);
      this.socket.on("error", reject);
    });
    return this;
  }

  send(...commands: unknown[]): void {
    this.socket.send(commands.map((command) => JSON.stringify(command)).join("\n"));
  }

  /** Every reply and push so far. */
  get lines(): Record<string, any>[] {
    return this.frames.flatMap((frame) => frame.split("\n").map((line) => JSON.parse(line)));
  }

  async reply(id: number): Promise<Record<string, any>> {
    return until(() => this.lines.find((line) => line.id === id));
  }
}

/** A connected one. */
export async function rawRider(gateway: Gateway): Promise<RawRider> {
  const rider = await new RawRider(riderUrl(gateway)).opened();
  rider.send({ id: 1, connect: {} });
  await rider.reply(1);
  return rider;
}

export type Fix = {
  id: string;
  seq?: number;
  ts?: number;
  lat?: number;
  lon?: number;
  trip?: string;
} & Record<string, unknown>;

/** Sends pings over HTTP; resolves with their places in the log when they are there. */
export async function ping(gateway: Gateway, ...fixes: Fix[]): Promise<void> {
  const pings = fixes.map((fix) => ({ ts: Date.now(), lat: 12.97, lon: 77.59, ...fix }));
  const response = await fetch(`http://127.0.0.1:${gateway.ports.device}/v1/ingest`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(pings),
  });
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`);
}

type Maybe<T> = T | undefined | null | false;

/** What `see` gives once it gives something. */
export async function until<T>(see: () => Maybe<T> | Promise<Maybe<T>>): Promise<T> {
  for (;;) {
    const seen = await see();
    if (seen !== undefined && seen !== null && seen !== false) return seen;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
