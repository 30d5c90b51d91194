/** MQTT 3.1.1 packets as bytes, valid or not, and a raw socket to send them on. */
import net from "node:net";

export const bytes = (...parts: (number | string | Uint8Array | number[])[]): Buffer =>
  Buffer.concat(
    parts.map((p) =>
      typeof p === "number"
        ? Buffer.of(p)
        : typeof p === "string"
          ? Buffer.from(p)
          : Buffer.from(p),
    ),
  );

export const str = (s: string | Uint8Array): Buffer => {
  const b = Buffer.from(s as string);
  return bytes([b.length >> 8, b.length & 255], b);
};

/** Fixed header with the length as MQTT writes it. */
export const packet = (first: number, ...body: Parameters<typeof bytes>): Buffer => {
  const b = bytes(...body);
  const head = [first];
  for (let n = b.length; ; n >>= 7) {
    head.push(n > 127 ? (n & 127) | 128 : n);
    if (n <= 127) return bytes(head, b);
  }
};

export type ConnectFields = {
  name?: string;
  level?: number;
  flags?: number;
  keepAlive?: number;
  id?: string | Uint8Array;
  rest?: Uint8Array;
};

export const connect = (f: ConnectFields = {}): Buffer =>
  packet(
    0x10,
    str(f.name ?? "MQTT"),
    f.level ?? 4,
    f.flags ?? 2,
    [(f.keepAlive ?? 60) >> 8, (f.keepAlive ?? 60) & 255],
    str(f.id ?? ""),
    f.rest ?? "",
  );

export const publish = (
  topic: string | Uint8Array,
  payload: string | Uint8Array,
  qos = 1,
  id = 1,
  flags = 0,
): Buffer =>
  packet(0x30 | (qos << 1) | flags, str(topic), qos > 0 ? [id >> 8, id & 255] : "", payload);

export const subscribe = (id: number, ...filters: [string, number][]): Buffer =>
  packet(0x82, [id >> 8, id & 255], ...filters.flatMap(([f, qos]) => [str(f), qos]));

export const PINGREQ = bytes([0xc0, 0]);
export const DISCONNECT = bytes([0xe0, 0]);
export const ACCEPTED = "20020000";

/** A socket that keeps what it reads. */
export class Raw {
  readonly #socket: net.Socket;
  #read = Buffer.alloc(0);
  #closed = false;
  #wake: () => void = () => {};

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on("data", (b) => {
      this.#read = Buffer.concat([this.#read, b]);
      this.#wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#closed = true;
      this.#wake();
    });
  }

  static open(port: number): Promise<Raw> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ port, host: "127.0.0.1", noDelay: true }, () => resolve(raw));
      const raw = new Raw(socket);
      socket.once("error", reject);
    });
  }

  send(...parts: Parameters<typeof bytes>): this {
    this.#socket.write(bytes(...parts));
    return this;
  }
  /** Reads no more: the peer's writes fill the kernel's buffers, then its own. */
  freeze(): void {
    this.#socket.pause();
  }
  end(): void {
    this.#socket.destroy();
  }

  /** The next `n` bytes in hex; fewer when the peer closes before. */
  async take(n: number): Promise<string> {
    while (this.#read.length < n && !this.#closed) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const taken = this.#read.subarray(0, n);
    this.#read = this.#read.subarray(taken.length);
    return taken.toString("hex");
  }

  /** All that comes until the peer closes, in hex. */
  async untilClose(): Promise<string> {
    while (!this.#closed) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.take(this.#read.length);
  }
}

let seq = 0;
export const ping = (id: string, more: Record<string, unknown> = {}): string =>
  JSON.stringify({ id, ts: Date.now(), lat: 12.97, lon: 77.59, seq: ++seq, ...more });
