/**
 * The way of one partition's batches into the cluster, without clock, socket or disk: what may be
 * sent, what the answers mean, and where to go on after trouble.
 *
 *     unsure ──told──▶ going ──sent, answered──▶ going
 *        ▲                │ the target cannot place what it was sent
 *        └────────────────┘
 *
 * A batch's sequence follows from its offset here, so that what is sent again is known to be the
 * same. Invariants: `acked <= next`; in flight lies [acked, next), each batch behind the other;
 * once a batch has failed nothing more is sent until all in flight are answered.
 */
import { E } from "../wire/errors.ts";

/** As many batches as Kafka remembers of a producer: any of them may be sent again. */
const WINDOW = 5;
const SEQUENCES = 2 ** 31;

/** Nothing but another batch, or another setting there, changes the answer. */
const REFUSED: ReadonlySet<number> = new Set<number>([
  E.MESSAGE_TOO_LARGE,
  E.INVALID_TOPIC_EXCEPTION,
  E.RECORD_LIST_TOO_LARGE,
  E.TOPIC_AUTHORIZATION_FAILED,
  E.CLUSTER_AUTHORIZATION_FAILED,
  E.INVALID_TIMESTAMP,
  E.INVALID_REQUEST,
  E.UNSUPPORTED_FOR_MESSAGE_FORMAT,
  E.UNSUPPORTED_COMPRESSION_TYPE,
  E.INVALID_RECORD,
]);

/** What is kept with the log: all that is needed to go on after a restart. */
export type Standing = {
  /** Sequence of the record at offset o: (o − origin) mod 2^31. */
  origin: number;
  /** Below, the cluster has everything; or more, which it will say. */
  acked: number;
  /**
   * Where the log ended at the start from which on the cluster has not been asked; null: it has. A
   * cluster that has more has it of an end that this log lost.
   */
  cut: number | null;
};

export type Answer = { errorCode: number; baseOffset: number };
/** Records below `to` are there; `shift`: offset there minus offset here, null: not known. */
export type Acked = { to: number; shift: number | null };
export type Told = { acked: Acked[]; changed: boolean; lost: number; isForeign: boolean };
/**
 * What an answer asks for: to send again what failed (who leads may have changed), to ask what is
 * there, a new producer id, or a person's help.
 */
export type Verdict = "again" | "ask" | "fenced" | "refused";

type Flight = { base: number; end: number; isAgain: boolean; answer: Answer | null };

export class Forwarding {
  #origin: number;
  #acked: number;
  #next: number;
  #cut: number | null;
  #isSure = false;
  /** The target has this producer's state: it takes nothing out of order. */
  #isKnown = false;
  /**
   * A batch failed and a later one got there. Mostly it is there too, and is known when it is sent
   * again; a cluster that cannot place it then has lost it, and it gets a new sequence.
   */
  #hasHole = false;
  #flights: Flight[] = [];
  /** What lies below was on its way before, in batches that ended here. */
  #sentTo = 0;
  #ends: number[] = [];
  /** Code of the answer that a person has to look at. */
  refusal: number = E.NONE;

  constructor({ origin, acked, cut }: Standing) {
    this.#origin = origin;
    this.#acked = this.#next = acked;
    this.#cut = cut;
  }

  get standing(): Standing {
    return { origin: this.#origin, acked: this.#acked, cut: this.#cut };
  }
  get acked(): number {
    return this.#acked;
  }
  /** The offset that is sent next. */
  get next(): number {
    return this.#next;
  }
  get isSure(): boolean {
    return this.#isSure;
  }
  /** Where the batch at `next` ended before: what is sent again is to be the same. */
  get boundary(): number {
    return this.#ends.find((end) => end > this.#next) ?? Infinity;
  }
  get inFlight(): number {
    return this.#flights.length;
  }

  /** Whether the batch at `next` may leave now. */
  get maySend(): boolean {
    // a target that does not know the producer takes any sequence; and of what is sent again, a
    // later batch may be there already when an earlier one fails: one at a time, then
    const isAgain = this.#next < this.#sentTo || this.#flights.some((f) => f.isAgain);
    const window = this.#isKnown && !isAgain ? WINDOW : 1;
    const failed = this.#flights.some(({ answer }) => answer !== null && isFailure(answer));
    return this.#isSure && !failed && this.#flights.length < window;
  }

  /**
   * The log has no batch that begins at `next`: it goes on at `base`, and the sequence without a
   * gap. Only with nothing in flight; to be on disk before the next is sent.
   */
  goOnAt(base: number): void {
    this.#origin += base - this.#next;
    this.#acked = this.#next = base;
  }

  /** The batch [next, end) leaves; its base sequence. */
  sent(end: number): number {
    const sequence = sequenceOf(this.#next - this.#origin);
    const isAgain = this.#next < this.#sentTo;
    this.#flights.push({ base: this.#next, end, isAgain, answer: null });
    this.#next = end;
    this.#sentTo = Math.max(this.#sentTo, end);
    return sequence;
  }

  /** Of the batch at `base`; what is new of what the cluster has, and what is to be done. */
  answered(base: number, answer: Answer): { acked: Acked[]; verdict: Verdict | null } {
    const flight = this.#flights.find((f) => f.base === base);
    if (flight !== undefined) flight.answer = answer;
    const acked: Acked[] = [];
    for (let head = this.#flights[0]; head?.answer != null; head = this.#flights[0]) {
      if (isFailure(head.answer)) return { acked, verdict: this.#verdict(head.answer.errorCode) };
      const { baseOffset } = head.answer;
      acked.push({ to: head.end, shift: baseOffset < 0 ? null : baseOffset - head.base });
      this.#acked = head.end;
      this.#isKnown = true;
      this.#hasHole = false;
      this.refusal = E.NONE;
      this.#flights.shift();
    }
    return { acked, verdict: null };
  }

  /** The first in flight has failed; null while others are on their way. */
  #verdict(code: number): Verdict | null {
    if (this.#flights.some(({ answer }) => answer === null)) return null;
    this.#hasHole ||= this.#flights.some(({ answer }) => answer !== null && !isFailure(answer));
    const ends = this.#flights.filter(({ isAgain }) => !isAgain).map(({ end }) => end);
    this.#ends = [...this.#ends.filter((end) => end > this.#acked), ...ends];
    this.#flights = [];
    this.#next = this.#acked;
    if (code === E.INVALID_PRODUCER_EPOCH || code === E.PRODUCER_FENCED) {
      this.#isSure = false;
      return "fenced";
    }
    if (code === E.OUT_OF_ORDER_SEQUENCE_NUMBER || code === E.UNKNOWN_PRODUCER_ID) {
      this.#isSure = false;
      return "ask";
    }
    this.refusal = REFUSED.has(code) ? code : E.NONE;
    return REFUSED.has(code) ? "refused" : "again";
  }

  /**
   * What the target said of this producer: its last sequence, null when it does not know it; the
   * log ends at `end`. `changed`: to be on disk before anything is sent. `lost`: records that the
   * target has and this log had no more of. `isForeign`: it has what was never sent from here.
   */
  told(lastSequence: number | null, end: number): Told {
    const { origin } = this.standing;
    const before = this.#acked;
    const cut = this.#cut;
    let lost = 0;
    this.#isSure = true;
    this.#isKnown = lastSequence !== null;
    if (lastSequence === null) {
      // not every cluster takes any sequence from a producer that it does not know
      this.#place(before, 0);
    } else {
      const sequence = sequenceOf(lastSequence + 1);
      const place = before + nearest(sequence - (before - origin));
      if (this.#hasHole) this.#place(before, sequence);
      else if (cut !== null && place > cut) {
        lost = place - cut;
        this.#place(cut, sequence);
      } else if (place > end) {
        this.#isSure = false;
        return { acked: [], changed: false, lost, isForeign: true };
      } else this.#acked = place;
    }
    this.#next = this.#acked;
    this.#hasHole = false;
    this.#cut = null;
    const moved = this.#acked !== before;
    const acked = moved ? [{ to: this.#acked, shift: null }] : [];
    // a cut that stood there yet would be taken for the end that the log has lost
    return { acked, changed: this.#origin !== origin || cut !== null, lost, isForeign: false };
  }

  /** The record at `offset` gets this sequence. */
  #place(offset: number, sequence: number): void {
    this.#acked = offset;
    this.#origin = offset - sequence;
  }

  /** Under a new producer id, which begins with sequence 0 at what is not there yet. */
  renew(): void {
    this.#origin = this.#acked;
    this.#isKnown = false;
  }

  /** A topic made anew there knows no producer; what is in flight is answered yet. */
  unsure(): void {
    this.#isSure = false;
    this.#isKnown = false;
  }
}

const isFailure = ({ errorCode }: Answer): boolean =>
  errorCode !== E.NONE && errorCode !== E.DUPLICATE_SEQUENCE_NUMBER;

const sequenceOf = (n: number): number => ((n % SEQUENCES) + SEQUENCES) % SEQUENCES;

/** The number of records between two places that are less than 2^30 apart. */
function nearest(difference: number): number {
  const ahead = sequenceOf(difference);
  return ahead < SEQUENCES / 2 ? ahead : ahead - SEQUENCES;
}
