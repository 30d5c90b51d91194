/** A Kafka client of the tests: frames as the project's own tables write them, answers as read. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { AnyApi, RequestOf, ResponseOf } from "../../src/wire/api.ts";
import { Reader } from "../../src/wire/reader.ts";
import { Writer } from "../../src/wire/writer.ts";

const API_VERSIONS = 18;

export class WireClient {
  readonly socket: Socket;
  readonly clientId: string | null;
  #received = Buffer.alloc(0);
  #waiting: ((frame: Buffer | null) => void)[] = [];
  #frames: Buffer[] = [];
  #closed = false;
  #correlationId = 0;

  private constructor(socket: Socket, clientId: string | null) {
    this.socket = socket;
    this.clientId = clientId;
    socket.setNoDelay(true);
    socket.on("data", (chunk) => this.#data(chunk));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#closed = true;
      for (const resolve of this.#waiting.splice(0)) resolve(null);
    });
  }

  static async open(
    port: number,
    clientId: string | null = "test",
    host = "127.0.0.1",
  ): Promise<WireClient> {
    const socket = connect(port, host);
    await once(socket, "connect");
    return new WireClient(socket, clientId);
  }

  close(): void {
    this.socket.destroy();
  }

  /** Bytes as they are. */
  raw(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** A request's frame, its size in front; the body may be bytes that no table made. */
  frame<A extends AnyApi>(api: A, version: number, body: RequestOf<A> | Uint8Array): Buffer {
    const w = new Writer();
    w.int32(0);
    w.int16(api.key);
    w.int16(version);
    w.int32(++this.#correlationId);
    const flexible = version >= api.flexibleFrom;
    if (this.clientId === null) {
      w.int16(-1);
    } else {
      w.int16(Buffer.byteLength(this.clientId));
      w.utf8(this.clientId);
    }
    if (flexible) w.uvarint(0);
    if (body instanceof Uint8Array) w.raw(body);
    else api.request(version).write(w, body);
    w.setInt32(0, w.length - 4);
    return w.bytes;
  }

  send<A extends AnyApi>(api: A, version: number, body: RequestOf<A> | Uint8Array): void {
    this.raw(this.frame(api, version, body));
  }

  /** Sends a request and reads its answer; rejects when the connection closes instead. */
  async request<A extends AnyApi>(
    api: A,
    version: number,
    body: RequestOf<A>,
  ): Promise<ResponseOf<A>> {
    this.send(api, version, body);
    const answer = await this.answer(api, version);
    if (answer === null) throw new Error(`${api.name} ${version}: the connection closed`);
    return answer;
  }

  /** The next answer, as one of `api`; null: the connection closed. */
  async answer<A extends AnyApi>(api: A, version: number): Promise<ResponseOf<A> | null> {
    const frame = await this.nextFrame();
    if (frame === null) return null;
    const r = new Reader(frame, 4);
    if (version >= api.flexibleFrom && api.key !== API_VERSIONS) r.skipTags();
    const response = api.response(version).read(r) as ResponseOf<A>;
    if (r.left !== 0) throw new Error(`${api.name} ${version}: ${r.left} bytes left`);
    return response;
  }

  /** The next frame without its size: correlation id, then the rest. Null: closed. */
  nextFrame(): Promise<Buffer | null> {
    const frame = this.#frames.shift();
    if (frame !== undefined) return Promise.resolve(frame);
    if (this.#closed) return Promise.resolve(null);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #data(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= 4) {
      const size = this.#received.readInt32BE(0);
      if (this.#received.length < 4 + size) return;
      const frame = this.#received.subarray(4, 4 + size);
      this.#received = this.#received.subarray(4 + size);
      const resolve = this.#waiting.shift();
      if (resolve === undefined) this.#frames.push(frame);
      else resolve(frame);
    }
  }
}
