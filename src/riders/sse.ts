/**
 * Channels as server-sent events [WHATWG HTML §9.2], one a stream, for whoever has no WebSocket.
 *
 *     event: position
 *     id: 3.0f8c21aa:914
 *     data: {"id":"42",…,"received":1760000000120}
 *
 * `snapshot` is the newest of each driver at the beginning, `position` what comes, or what was
 * missed since `Last-Event-ID`; `gone` left the area or fell silent.
 */
import { type Exchange, type HeaderFields } from "../lib/http-exchange.ts";
import { HttpStream, SURE_BYTES } from "../lib/http-stream.ts";
import type { Channel } from "../live/channel.ts";
import { type ChannelSpec, parseChannel } from "../live/channel-name.ts";
import type { Live } from "../live/live.ts";
import { type Frame, LEFT } from "../live/publication.ts";
import type { StreamPosition } from "../live/recovery.ts";
import type { Registry } from "../metrics/registry.ts";
import { limits } from "../model/limits.ts";
import { choiceOf, integerOf, quoted, refuseUnknown } from "./parameters.ts";
import { Pacer } from "./pacer.ts";
import type { Pressure, Reader } from "./pressure.ts";
import type { Start, SubscribeOptions, Told } from "./protocol.ts";
import { BadRequest, type RiderRequest } from "./rider-request.ts";
import { StreamMetrics } from "./stream-metrics.ts";
import { type Outlet, Subscription, type SubscriptionServices } from "./subscription.ts";

const SECOND_MS = 1000;
const COMMENT = ":\n\n";
/** Of small pieces uWS does not say whether the socket took them; of this it does. */
const PADDING = `:${" ".repeat(SURE_BYTES)}\n\n`;
/** What the name of a channel must be, by kind. */
const forms = new Map([
  ["driver", "driver:ID"],
  ["trip", "trip:ID"],
  ["cell", "cell:H3 of resolution 4 to 9, in lower case"],
  ["bbox", "bbox:WEST,SOUTH,EAST,NORTH in degrees"],
]);
const headers: HeaderFields = [
  ["Content-Type", "text/event-stream"],
  ["Cache-Control", "no-store"],
  // nginx would collect events
  ["X-Accel-Buffering", "no"],
];

export class EventStreams implements SubscriptionServices {
  readonly live: Live;
  readonly pressure: Pressure;
  readonly metrics: StreamMetrics;
  readonly pacer = new Pacer(() => {});
  readonly #streams = new Set<EventStream>();
  readonly #clock: NodeJS.Timeout;
  /** The last frame as events: a channel's readers are told one after the other. */
  #frame: Frame | null = null;
  #events: Buffer = Buffer.alloc(0);
  #isDraining = false;

  constructor(live: Live, registry: Registry, pressure: Pressure) {
    this.live = live;
    this.pressure = pressure;
    this.metrics = new StreamMetrics(registry, live.drivers, "sse");
    this.#clock = setInterval(() => this.#tick(), SECOND_MS);
  }

  /** `GET /v1/stream` */
  open({ exchange, params, header, isForeign }: RiderRequest): void {
    if (isForeign) return exchange.error(403, "foreign_origin", "this origin is not allowed");
    refuseUnknown(params, ["channel", "interval", "recovery", "lastEventId"]);
    const name = params.get("channel");
    if (name === undefined) throw new BadRequest("bad_parameter", "channel must be given");
    const spec = parseChannel(name);
    if (spec === "unknown") {
      const message = `no channel is called ${quoted(name)}: there are driver, trip, cell and bbox`;
      return exchange.error(404, "unknown_channel", message);
    }
    if (spec === "malformed") {
      const form = forms.get(name.slice(0, name.indexOf(":")));
      throw new BadRequest("bad_channel", `${quoted(name)} is not ${form}`);
    }
    const interval = { min: 0, max: limits.riderIntervalMsMax, default: 0 };
    const options = {
      interval: integerOf(params, "interval", interval),
      newestOnly: choiceOf(params, "recovery", ["stream", "cache"]) === "cache",
    };
    const since = positionOf(header("last-event-id") || (params.get("lastEventId") ?? ""));
    if (exchange.isHead) return exchange.reply(200, "", headers);
    if (this.#isDraining) return busy(exchange, "draining", "the gateway is stopping");
    if (this.#streams.size >= limits.eventStreamsMax) {
      return busy(exchange, "busy", "too many streams are open");
    }
    const stream = new EventStream(this, exchange, spec, options, since);
    // it may have been too much already
    if (stream.isOver) return;
    this.#streams.add(stream);
    this.metrics.clients.value++;
  }

  closed(stream: EventStream): void {
    if (this.#streams.delete(stream)) this.metrics.clients.value--;
  }

  /** Encoded once for all readers of a channel; valid until the next call. */
  eventsOf(channel: Channel, frame: Frame): Buffer {
    if (this.#frame === frame) return this.#events;
    if (this.#frame === null) queueMicrotask(() => this.#settle());
    const epoch = channel.kind === "driver" ? this.live.recovery.end(channel).epoch : null;
    const { bytes, data, publications } = frame;
    const parts: Uint8Array[] = [];
    for (const [i, { kind, offset }] of publications.entries()) {
      const event = kind >= LEFT ? "gone" : "position";
      const id = epoch === null ? "" : `id: ${epoch}:${offset}\n`;
      parts.push(Buffer.from(`event: ${event}\n${id}data: `));
      parts.push(bytes.subarray(data[2 * i], data[2 * i + 1]), END);
    }
    this.#frame = frame;
    this.#events = Buffer.concat(parts);
    return this.#events;
  }

  /** Clients come back by themselves, here or to another. */
  drain(): void {
    this.#isDraining = true;
    for (const stream of this.#streams) stream.end();
  }

  close(): void {
    clearInterval(this.#clock);
    this.pacer.close();
  }

  #settle(): void {
    this.#frame = null;
    this.#events = Buffer.alloc(0);
    this.metrics.settle(this.live.now());
  }

  #tick(): void {
    for (const stream of this.#streams) stream.tick();
  }
}

const END = Buffer.from("\n\n");
/** Of an entry in a set of drivers. */
const NOTED_BYTES = 40;

class EventStream implements Outlet, Reader {
  readonly #streams: EventStreams;
  readonly #exchange: Exchange;
  readonly #stream: HttpStream;
  readonly #subscription: Subscription;
  /** Seconds since something was written. */
  #silentSeconds = 0;
  unsentBytes = 0;
  hasRead = false;

  constructor(
    streams: EventStreams,
    exchange: Exchange,
    spec: ChannelSpec,
    options: SubscribeOptions,
    since: StreamPosition | null,
  ) {
    const subscription = Subscription.open(streams, this, options, spec);
    if (subscription === null) {
      throw new BadRequest(
        "too_many_drivers",
        "more drivers are there than may be followed: take less",
      );
    }
    this.#streams = streams;
    this.#exchange = exchange;
    this.#subscription = subscription;
    this.#stream = new HttpStream(exchange, headers, COMMENT);
    this.#stream.onChange = () => this.#changed();
    // its client knows that it is connected, however long the log is read
    this.#write(COMMENT);
    void subscription.begin(since, (start) => this.#started(start));
  }

  get isOver(): boolean {
    return this.#stream.isOver;
  }

  get isSlow(): boolean {
    return this.#stream.isBlocked;
  }

  get heldBytes(): number {
    return this.unsentBytes + this.#subscription.noted * NOTED_BYTES;
  }

  frame({ channel }: Subscription, frame: Frame): void {
    this.#streams.metrics.wrote(frame);
    this.#write(this.#streams.eventsOf(channel, frame));
  }

  due(): void {
    this.#catchUp();
  }

  ended(): void {
    this.end();
  }

  end(): void {
    this.#stream.end();
    this.#changed();
  }

  closeSlow(): void {
    this.#exchange.abort();
  }

  /** A second has passed: proxies and clients give up what says nothing. */
  tick(): void {
    if (++this.#silentSeconds >= limits.riderPingSeconds && !this.isSlow) this.#write(COMMENT);
  }

  #started({ publications, position, recovered }: Start): void {
    const epoch = position?.epoch ?? null;
    const event = recovered ? "position" : "snapshot";
    let text = publications.map((told) => eventOf(told, event, epoch)).join("");
    // an id without data is remembered, and nobody is told
    if (publications.length === 0 && position !== null) {
      text = `id: ${position.epoch}:${position.offset}\n\n`;
    }
    this.#streams.metrics.messages.value += publications.length;
    this.#write(text);
  }

  /** The newest of each driver, as long as the client keeps up. */
  #catchUp(): void {
    const subscription = this.#subscription;
    while (subscription.hasNews && !this.isSlow && !this.#stream.isOver) {
      const told = subscription.take(limits.riderTakeMax);
      const { live, metrics } = this.#streams;
      const { channel } = subscription;
      const epoch = channel.kind === "driver" ? live.recovery.end(channel).epoch : null;
      metrics.messages.value += told.length;
      this.#write(told.map((one) => eventOf(one, one.gone ? "gone" : "position", epoch)).join(""));
    }
  }

  #write(events: string | Uint8Array): void {
    const stream = this.#stream;
    this.#silentSeconds = 0;
    stream.write(events);
    if (stream.unsureBytes > limits.eventStreamUnsureBytesMax && !stream.isBlocked) {
      stream.write(PADDING);
    }
    if (stream.isBlocked) this.#streams.pressure.unsent(this, stream.unsureBytes);
  }

  /** The client reads again, or is gone. */
  #changed(): void {
    this.#streams.pressure.unsent(this, 0);
    if (!this.#stream.isOver) return this.#catchUp();
    this.#streams.closed(this);
    this.#subscription.close();
  }
}

function eventOf({ data, offset }: Told, event: string, epoch: string | null): string {
  const id = epoch === null ? "" : `id: ${epoch}:${offset}\n`;
  return `event: ${event}\n${id}data: ${data}\n\n`;
}

/** `epoch:offset`; null: none that we gave out, so the stream begins anew. */
function positionOf(id: string): StreamPosition | null {
  const match = /^([\w.-]{1,64}):(\d{1,15})$/.exec(id);
  return match === null ? null : { epoch: match[1], offset: Number(match[2]) };
}

function busy(exchange: Exchange, code: string, message: string): void {
  exchange.error(503, code, message, [["Retry-After", "2"]]);
}
