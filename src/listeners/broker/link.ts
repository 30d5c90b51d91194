/**
 * A worker's way to the broker in the main thread. The worker owns the sockets and gives each
 * connection a small number of its own; what the broker has to say to it comes back under that.
 *
 * Flow: both sides count what is under way. `data` answers false when the broker has too much of
 * this connection unread: do not read its socket until `onDrain`. `onData` may answer false, as
 * `socket.write` does: then nothing counts as gone until `drained`, and the broker closes a
 * connection above `limits.mqttOutboundBytesMax`.
 */
import type { MessagePort } from "node:worker_threads";
import { limits } from "../../model/limits.ts";
import { eachFrame, FLAG, kinds, Outbox } from "./protocol.ts";

type Peer = {
  conn: number;
  id: number;
  /** Bytes the broker has not taken yet. */
  underWay: number;
  /** `data` answered false. */
  full: boolean;
  /** Bytes handed to the socket that the broker has not been told of. */
  untold: number;
  /** The socket said false: `untold` has not left. */
  stalled: boolean;
};

export class BrokerLink {
  readonly #port: MessagePort;
  readonly #outbox: Outbox;
  readonly #byConn = new Map<number, Peer>();
  readonly #byId = new Map<number, Peer>();
  #nextId = 1;

  /** Packets for the socket; false when it keeps them for later (then call `drained`). */
  onData: (conn: number, bytes: Uint8Array) => boolean | void = () => {};
  /** The broker has closed the connection; what it sent before has been passed on. */
  onClose: (conn: number) => void = () => {};
  /** After `data` answered false: the connection may be read again. */
  onDrain: (conn: number) => void = () => {};

  constructor(port: MessagePort) {
    this.#port = port;
    this.#outbox = new Outbox(port);
    port.on("message", (message: Uint8Array) => eachFrame(message, this.#frame));
  }

  /** `swallowConnack`: the device has been answered already, the broker's CONNACK is dropped. */
  attach(conn: number, connect: Uint8Array, swallowConnack: boolean, remote: string): void {
    if (this.#byConn.has(conn)) this.detach(conn, false);
    const id = this.#nextId++ >>> 0;
    const peer: Peer = { conn, id, underWay: 0, full: false, untold: 0, stalled: false };
    this.#byConn.set(conn, peer);
    this.#byId.set(id, peer);
    const name = Buffer.from(remote);
    const head = Buffer.allocUnsafe(2);
    head.writeUInt16LE(name.length);
    this.#outbox.frame(kinds.attach, id, swallowConnack ? FLAG : 0, head, name, connect);
  }

  /** Whole packets, copied before it returns. False: read no more until `onDrain`. */
  data(conn: number, bytes: Uint8Array): boolean {
    const peer = this.#byConn.get(conn);
    if (peer === undefined) return true;
    this.#outbox.frame(kinds.data, peer.id, 0, bytes);
    peer.underWay += bytes.length;
    if (peer.underWay > limits.brokerUnreadBytesMax) peer.full = true;
    return !peer.full;
  }

  /** The socket has closed; `graceful` after a DISCONNECT, else the will is published. */
  detach(conn: number, graceful: boolean): void {
    const peer = this.#byConn.get(conn);
    if (peer === undefined) return;
    this.#forget(peer);
    this.#outbox.frame(kinds.detach, peer.id, graceful ? FLAG : 0);
  }

  /** What `onData` was told is kept has left for the network. */
  drained(conn: number): void {
    const peer = this.#byConn.get(conn);
    if (peer === undefined || !peer.stalled) return;
    peer.stalled = false;
    this.#credit(peer);
  }

  close(): void {
    this.#outbox.flush();
    this.#port.close();
  }

  readonly #frame = (kind: number, id: number, _flags: number, body: Buffer): void => {
    const peer = this.#byId.get(id);
    if (peer === undefined) return;
    switch (kind) {
      case kinds.data:
        peer.untold += body.length;
        if (this.onData(peer.conn, body) === false) peer.stalled = true;
        if (!peer.stalled) this.#credit(peer);
        break;
      case kinds.consumed:
        peer.underWay -= body.readUInt32LE(0);
        if (peer.full && peer.underWay <= limits.brokerUnreadBytesMax / 2) {
          peer.full = false;
          this.onDrain(peer.conn);
        }
        break;
      case kinds.close:
        this.#forget(peer);
        this.onClose(peer.conn);
    }
  };

  /** Small change is not told: the broker allows for it. */
  #credit(peer: Peer): void {
    if (peer.untold < limits.brokerCreditBytes || this.#byId.get(peer.id) !== peer) return;
    this.#outbox.count(kinds.drained, peer.id, peer.untold);
    peer.untold = 0;
  }

  #forget(peer: Peer): void {
    this.#byId.delete(peer.id);
    if (this.#byConn.get(peer.conn) === peer) this.#byConn.delete(peer.conn);
  }
}
