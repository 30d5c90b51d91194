/** A small reader of server-sent events, as browsers read them. */
import http from "node:http";

export type ServerEvent = { event: string; id: string; data: any };

export class EventReader {
  readonly response: http.IncomingMessage;
  readonly events: ServerEvent[] = [];
  /** As it would be sent after a reconnect. */
  lastEventId = "";
  comments = 0;
  isClosed = false;
  #text = "";
  #wake: (() => void)[] = [];

  private constructor(response: http.IncomingMessage) {
    this.response = response;
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => this.#take(chunk));
    response.on("error", () => {});
    response.on("close", () => {
      this.isClosed = true;
      this.#notify();
    });
  }

  static async open(url: string, headers: Record<string, string> = {}): Promise<EventReader> {
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      http.get(url, { headers, agent: false }, resolve).on("error", reject);
    });
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
    return new EventReader(response);
  }

  /** The first so many events, once they are there. */
  async first(count: number): Promise<ServerEvent[]> {
    await this.until(() => this.events.length >= count);
    return this.events.slice(0, count);
  }

  /** Resolves when `isEnough`; fails when the stream ends before. */
  async until(isEnough: () => boolean): Promise<void> {
    while (!isEnough()) {
      if (this.isClosed) throw new Error(`closed after ${this.events.length} events`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  async closed(): Promise<void> {
    while (!this.isClosed) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  close(): void {
    this.response.destroy();
  }

  #take(chunk: string): void {
    this.#text += chunk;
    const blocks = this.#text.split("\n\n");
    this.#text = blocks.pop() ?? "";
    for (const block of blocks) this.#event(block.split("\n"));
    this.#notify();
  }

  #event(lines: string[]): void {
    let [event, data] = ["message", ""];
    for (const line of lines) {
      const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
      if (field === "") this.comments++;
      else if (field === "event") event = value;
      else if (field === "id") this.lastEventId = value;
      else if (field === "data") data += value;
      else throw new Error(`no field of an event: ${JSON.stringify(line)}`);
    }
    if (data !== "") this.events.push({ event, id: this.lastEventId, data: JSON.parse(data) });
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resolve of wake) resolve();
  }
}
