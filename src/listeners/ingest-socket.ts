import type { UWS } from "../lib/uws.ts";
import type { ErrorCode } from "../model/errors.ts";
import { limits } from "../model/limits.ts";
import type { Claims, Done, FrameResult, Holder, Intake, Source } from "./intake-types.ts";
import { retryAfterSeconds } from "./retry-after.ts";

/** uWS's user data of a socket. */
export type SocketData = { socket: IngestSocket };

/** What all sockets of a worker share. */
export interface IngestServices {
  readonly intake: Intake;
  readonly claims: Claims;
  /** The socket has something to write: call its `flush` before the turn ends. */
  due(socket: IngestSocket): void;
  /** Closed, and nothing of it is pending. */
  settled(socket: IngestSocket): void;
  countClosed(reason: string): void;
}

/** The last words of a socket, said when every frame taken before has its reply. */
type Ending = {
  code: number;
  text: string;
  /** The first frame not taken is refused with it. */
  nack: ErrorCode | null;
};

/** What `ws.send` returns for a message that went over `maxBackpressure`. */
const DROPPED = 2;

const takenOver: Ending = { code: 4001, text: "taken over", nack: null };
const notText: Ending = { code: 1003, text: "text frames only", nack: null };
const tooBig: Ending = { code: 1009, text: "too large", nack: null };
const leftByPeer: Ending = { code: 1000, text: "", nack: null };

/**
 * One WebSocket of a device. Frames are counted from 1; each is handed to the intake at once and
 * answered when the log has it. uWS cannot pause a WebSocket, so what may be unanswered is
 * bounded here, and the frame beyond is refused.
 *
 *     waiting ──granted──▶ open ──(refusal, misuse, takeover, drain)──▶ ending ──▶ closed
 *
 * With `driver=` a socket waits for the claim: frames that come before are kept, within the same
 * bound. An ending socket takes no more frames; it answers those it took, then says why it
 * closes. The claim is let go only when nothing of it is pending, closed or not.
 */
export class IngestSocket implements Holder {
  readonly #services: IngestServices;
  readonly #source: Source;
  /** Null once closed. */
  #ws: UWS.WebSocket<SocketData> | null = null;
  /** Frames that came before the claim was granted; null: open. */
  #waiting: Uint8Array[] | null;
  #ending: Ending | null = null;
  #answered = 0;
  /** Sizes of the unanswered frames, from `#oldest` on. */
  readonly #sizes: number[] = [];
  #oldest = 0;
  #unansweredBytes = 0;
  /** Replies due, written at the end of the turn. */
  #replies: string[] = [];
  #isDue = false;
  #isHanding = false;
  #isSettled = false;
  #released: (() => void) | null = null;
  /** One for all frames: the intake answers in the order they were handed over. */
  readonly #done: Done = (result, refusal) => this.#answer(result, refusal);

  constructor(services: IngestServices, source: Source) {
    this.#services = services;
    this.#source = source;
    this.#waiting = source.driver === null ? null : [];
  }

  opened(ws: UWS.WebSocket<SocketData>): void {
    this.#ws = ws;
    const { driver } = this.#source;
    if (driver !== null) this.#services.claims.claim("driver", driver, this);
  }

  /** `message` is uWS's own memory, gone when this returns. */
  message(message: ArrayBuffer, isBinary: boolean): void {
    if (this.#ending !== null) return;
    const size = message.byteLength;
    // the contract speaks of text frames; a binary one is some other protocol
    if (isBinary) return this.#end(notText);
    if (size > limits.frameBytesMax) return this.#end(tooBig);
    const { refusing } = this.#services.intake;
    if (refusing !== null) return this.refuse(refusing);
    if (
      this.#unanswered >= limits.wsUnansweredFramesMax ||
      this.#unansweredBytes + size > limits.wsUnansweredBytesMax
    ) {
      return this.refuse("backlog");
    }
    this.#sizes.push(size);
    this.#unansweredBytes += size;
    if (this.#waiting === null) this.#hand(new Uint8Array(message));
    else this.#waiting.push(new Uint8Array(message.slice(0)));
  }

  /** Takes no further frame; the next one's nack and the close follow the replies still due. */
  refuse(reason: ErrorCode): void {
    this.#end(endingFor(reason));
  }

  closed(): void {
    this.#ws = null;
    this.#replies = [];
    this.#dropWaiting();
    this.#ending ??= leftByPeer;
    this.#settle();
  }

  granted(): void {
    const waiting = this.#waiting;
    if (waiting === null) return;
    this.#waiting = null;
    for (const bytes of waiting) {
      // one that is too large ends the socket: those behind it are not taken
      if (this.#ending === null) this.#hand(bytes);
      else this.#forgetNewest();
    }
  }

  taken(released: () => void): void {
    this.#released = released;
    if (this.#isSettled) return released();
    this.#end(takenOver);
  }

  /** Writes what is due. */
  flush(): void {
    this.#isDue = false;
    const ws = this.#ws;
    if (ws !== null) {
      const isLast = this.#ending !== null && this.#unanswered === 0;
      const replies = this.#replies;
      this.#replies = [];
      if (replies.length === 1 && !isLast) this.#write(ws, replies[0]);
      else this.#writeAll(ws, replies, isLast ? this.#ending : null);
    }
    this.#settle();
  }

  #writeAll(ws: UWS.WebSocket<SocketData>, replies: string[], ending: Ending | null): void {
    if (ending !== null && ending.nack !== null) {
      const { nack } = ending;
      const retryAfter = retryAfterSeconds(nack);
      const n = this.#answered + 1;
      replies.push(`{"nack":${n},"reason":"${nack}","retryAfter":${retryAfter}}`);
    }
    if (replies.length > 0) {
      // uncorked, each would be a write of its own
      ws.cork(() => replies.every((reply) => this.#write(ws, reply)));
    }
    if (ending === null || this.#ws === null) return;
    const { code, text } = ending;
    this.#services.countClosed(code === 4001 ? "taken_over" : text.replaceAll(" ", "_"));
    // not corked: uWS would send the close frame and forget the FIN
    ws.end(code, text);
  }

  /** False: the client does not read, and a reply left out would make the next one wrong. */
  #write(ws: UWS.WebSocket<SocketData>, reply: string): boolean {
    if (ws.send(reply) !== DROPPED) return true;
    this.#services.countClosed("slow_reader");
    ws.close();
    return false;
  }

  get #unanswered(): number {
    return this.#sizes.length - this.#oldest;
  }

  #hand(bytes: Uint8Array): void {
    this.#isHanding = true;
    this.#services.intake.frame(bytes, this.#source, false, this.#done);
    this.#isHanding = false;
  }

  #answer(result: FrameResult | null, refusal: ErrorCode | null): void {
    if (this.#isHanding) {
      // refused before it was taken (too many pings): earlier frames still get their replies
      this.#forgetNewest();
      this.#end(endingFor(refusal ?? "too_large"));
      return;
    }
    this.#unansweredBytes -= this.#sizes[this.#oldest++];
    if (this.#oldest === this.#sizes.length) {
      this.#sizes.length = 0;
      this.#oldest = 0;
    } else if (this.#oldest === limits.wsUnansweredFramesMax) {
      this.#sizes.splice(0, this.#oldest);
      this.#oldest = 0;
    }
    if (this.#ws !== null) {
      if (result !== null) this.#replies.push(ackText(++this.#answered, result));
      else this.#endNow(endingFor(refusal ?? "timeout"));
    }
    if (this.#replies.length > 0 || this.#ending !== null) this.#due();
  }

  #end(ending: Ending): void {
    if (this.#ending !== null) return;
    this.#ending = ending;
    this.#dropWaiting();
    this.#due();
  }

  /** A frame in the middle is refused: the replies before it go out, those behind never do. */
  #endNow(ending: Ending): void {
    const ws = this.#ws as UWS.WebSocket<SocketData>;
    // who was taken over learns of the refusal, too, but must not come back for it
    if (this.#ending === takenOver) this.#ending = { ...takenOver, nack: ending.nack };
    else this.#ending = ending;
    const replies = this.#replies;
    this.#replies = [];
    this.#writeAll(ws, replies, this.#ending);
  }

  #due(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#services.due(this);
  }

  #forgetNewest(): void {
    this.#unansweredBytes -= this.#sizes.pop() ?? 0;
    if (this.#oldest === this.#sizes.length) {
      this.#sizes.length = 0;
      this.#oldest = 0;
    }
  }

  #dropWaiting(): void {
    if (this.#waiting === null) return;
    this.#waiting = null;
    this.#sizes.length = 0;
    this.#unansweredBytes = 0;
  }

  #settle(): void {
    if (this.#ws !== null || this.#unanswered > 0 || this.#isSettled) return;
    this.#isSettled = true;
    if (this.#released !== null) this.#released();
    else if (this.#source.driver !== null) this.#services.claims.release(this);
    this.#services.settled(this);
  }
}

/** All that devices know of. */
const words: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "backlog",
  "timeout",
  "disk_full",
  "draining",
  "shutdown",
]);

function endingFor(refusal: ErrorCode): Ending {
  if (refusal === "too_large") return tooBig;
  // a topic deleted under the frame, a cluster that is away: it is to be sent again
  const nack = words.has(refusal) ? refusal : "timeout";
  return { code: 1013, text: nack, nack };
}

function ackText(n: number, { accepted, rejected, p }: FrameResult): string {
  let text = `{"ack":${n},"accepted":${accepted},"rejected":[`;
  for (let i = 0; i < rejected.length; i++) {
    if (i > 0) text += ",";
    text += `{"i":${rejected[i].i},"reason":"${rejected[i].reason}"}`;
  }
  text += `],"p":[`;
  for (let i = 0; i < p.length; i++) {
    if (i > 0) text += ",";
    const place = p[i];
    text += place === null ? "null" : `[${place[0]},${place[1]}]`;
  }
  return text + "]}";
}
