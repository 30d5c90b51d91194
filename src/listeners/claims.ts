/**
 * One live connection per MQTT client id or WebSocket `driver=`, across the workers of a node.
 * Workers ask; the registry in the main thread decides:
 *
 *     worker A                main                worker B
 *        claim(id) ────────────▶ nobody holds it
 *        ◀──────────── granted
 *                                ◀──────────── claim(id)
 *        ◀────────────── taken
 *        (closes; all settled)
 *        released ─────────────▶
 *                                granted ─────▶
 *
 * So what the old connection handed over is in the log or refused before the new one is read.
 */
import type { MessagePort } from "node:worker_threads";
import { limits } from "../model/limits.ts";
import type { Claims, Holder } from "./intake-types.ts";

export type Kind = "client" | "driver";
type ToRegistry =
  | { op: "claim"; ref: number; kind: Kind; id: string }
  | { op: "released"; ref: number; carried: number[] };
type FromRegistry =
  | { op: "granted"; ref: number; broker: boolean; carried: number[] }
  | { op: "taken"; ref: number };

/** Worker's side. */
export class ClaimsPort implements Claims {
  readonly #port: MessagePort;
  readonly #holders = new Map<number, Holder>();
  readonly #refs = new Map<Holder, number>();
  #next = 1;
  #out: ToRegistry[] = [];

  constructor(port: MessagePort) {
    this.#port = port;
    port.on("message", (messages: FromRegistry[]) => {
      for (const m of messages) this.#message(m);
    });
  }

  claim(kind: Kind, id: string, holder: Holder): void {
    const ref = this.#next++;
    this.#holders.set(ref, holder);
    this.#refs.set(holder, ref);
    this.#send({ op: "claim", ref, kind, id });
  }

  release(holder: Holder, carried: number[] = []): void {
    const ref = this.#refs.get(holder);
    if (ref === undefined) return;
    this.#refs.delete(holder);
    this.#holders.delete(ref);
    this.#send({ op: "released", ref, carried });
  }

  #message(m: FromRegistry): void {
    const holder = this.#holders.get(m.ref);
    // gone meanwhile: its `released` is on the way
    if (holder === undefined) return;
    if (m.op === "granted") holder.granted(m.broker, m.carried);
    else holder.taken((carried) => this.release(holder, carried));
  }

  /** A reconnecting fleet claims by the thousand: one message a turn. */
  #send(m: ToRegistry): void {
    if (this.#out.push(m) > 1) return;
    setImmediate(() => {
      this.#port.postMessage(this.#out);
      this.#out = [];
    });
  }
}

type Claim = { port: MessagePort; ref: number; key: string };
type Place = { holder: Claim; next: Claim | null };

/** Main thread's side. `needsBroker` says whether a client has a session or the like. */
export class ClaimRegistry {
  readonly #places = new Map<string, Place>();
  readonly #claims = new Map<MessagePort, Map<number, Claim>>();
  readonly #out = new Map<MessagePort, FromRegistry[]>();
  /** By place: QoS 2 packet ids that a client's next connection must know, oldest first. */
  readonly #carried = new Map<string, number[]>();
  readonly #needsBroker: (clientId: string) => boolean;

  constructor(needsBroker: (clientId: string) => boolean) {
    this.#needsBroker = needsBroker;
  }

  addWorker(port: MessagePort): void {
    this.#claims.set(port, new Map());
    port.on("message", (messages: ToRegistry[]) => {
      for (const m of messages) {
        if (m.op === "claim") this.#claim(port, m.ref, `${m.kind}/${m.id}`);
        else this.#released(port, m.ref, m.carried);
      }
      for (const [to, out] of this.#out) to.postMessage(out);
      this.#out.clear();
    });
  }

  #claim(port: MessagePort, ref: number, key: string): void {
    const claim: Claim = { port, ref, key };
    this.#claims.get(port)?.set(ref, claim);
    const place = this.#places.get(key);
    if (place === undefined) {
      this.#places.set(key, { holder: claim, next: null });
      return this.#grant(claim);
    }
    // of several that wait the newest wins; the others are told to go
    if (place.next === null) this.#tell(place.holder.port, { op: "taken", ref: place.holder.ref });
    else this.#tell(place.next.port, { op: "taken", ref: place.next.ref });
    place.next = claim;
  }

  #released(port: MessagePort, ref: number, carried: number[]): void {
    const claim = this.#claims.get(port)?.get(ref);
    if (claim === undefined) return;
    if (carried.length > 0) this.#carry(claim.key, carried);
    this.#claims.get(port)?.delete(ref);
    const place = this.#places.get(claim.key);
    if (place === undefined) return;
    if (place.next === claim) place.next = null;
    if (place.holder !== claim) return;
    if (place.next === null) this.#places.delete(claim.key);
    else {
      place.holder = place.next;
      place.next = null;
      this.#grant(place.holder);
    }
  }

  #grant(claim: Claim): void {
    const [kind] = claim.key.split("/", 1);
    const broker = kind === "client" && this.#needsBroker(claim.key.slice(kind.length + 1));
    const carried = this.#carried.get(claim.key) ?? [];
    this.#carried.delete(claim.key);
    this.#tell(claim.port, { op: "granted", ref: claim.ref, broker, carried });
  }

  #carry(key: string, ids: number[]): void {
    this.#carried.delete(key);
    this.#carried.set(key, ids);
    // the client gone for longest is forgotten: its resends would be stored again
    if (this.#carried.size > limits.qos2ClientsMax) {
      this.#carried.delete(this.#carried.keys().next().value as string);
    }
  }

  #tell(port: MessagePort, m: FromRegistry): void {
    const out = this.#out.get(port);
    if (out === undefined) this.#out.set(port, [m]);
    else out.push(m);
  }
}
