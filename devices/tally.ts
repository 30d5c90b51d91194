import { Histogram } from "./histogram.ts";
import type { Ledger } from "./ledger.ts";
import type { Message, Outbox } from "./outbox.ts";

/** What the fleet has done so far, in pings. Links report here. */
export class Tally {
  /** Sent at least once. */
  sent = 0;
  acked = 0;
  /** Sent again after a connection was lost. */
  resent = 0;
  /** Answered as not acceptable: in the gateway's topic `rejects`. */
  rejected = 0;
  /** Sent at QoS 0: nobody will acknowledge them. */
  unasked = 0;
  /** Never sent: the driver's memory was full. */
  dropped = 0;
  connected = 0;
  /** The newest trouble of any connection, for people to read. */
  trouble: string | null = null;
  readonly ackMs = new Histogram();
  /** The same since the last look at the progress. */
  readonly recentMs = new Histogram();
  readonly #ledger: Ledger | null;

  constructor(ledger: Ledger | null) {
    this.#ledger = ledger;
  }

  /** Sent and still to be answered. */
  get unacked(): number {
    return this.sent - this.acked - this.rejected - this.unasked;
  }

  troubled(transport: string, error: NodeJS.ErrnoException): void {
    // One with several addresses tried has a code and no message.
    this.trouble = `${transport}: ${error.message || error.code}`;
  }

  departed(message: Message): void {
    const pings = message.ts.length;
    if (message.sends++ === 0) this.sent += pings;
    else this.resent += pings;
  }

  /** `refused` are the indexes of pings that were rejected. */
  answered(outbox: Outbox, message: Message, refused: ReadonlySet<number> | null): void {
    const { ts, firstSeq } = message;
    // an event: the figures are of pings
    if (ts.length === 0) return;
    if (this.#ledger !== null) {
      for (let k = 0; k < ts.length; k++) {
        if (!refused?.has(k)) this.#ledger.add(outbox.driver, firstSeq + k, ts[k]);
      }
    }
    const rejected = refused?.size ?? 0;
    this.rejected += rejected;
    this.acked += ts.length - rejected;
    const tookMs = Math.max(0, performance.now() - message.dueMs);
    this.ackMs.record(tookMs, ts.length);
    this.recentMs.record(tookMs, ts.length);
  }
}
